"""What can go wrong while a model is configured, trained or read back.

TowersError
├── ConfigError      a configuration: the key, what came, what is allowed
├── RunError         a run directory that is missing, incomplete or in the way
└── TrainingError    training can't go on, such as a loss that is not finite
"""

from torchtowers.data.errors import TowersError

__all__ = ["ConfigError", "RunError", "TrainingError"]


class ConfigError(TowersError):
    """A configuration can't be used; the text names the key, what came and what is allowed."""


class RunError(TowersError):
    """A run directory can't be read or written."""


class TrainingError(TowersError):
    """Training can't go on, or has left a model of no use."""

    # Not the caller's mistake: a check that failed.
    exit_code = 1
