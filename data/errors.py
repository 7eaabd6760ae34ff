"""What can go wrong with data.

TowersError
└── DataError            files, columns or values that can't be used
    ├── ChecksumError    a file whose bytes are not the expected ones
    └── FetchError       no source of a data set could be reached
"""

from torchtowers.handlers.errors import TowersError, shorten

__all__ = ["ChecksumError", "DataError", "FetchError", "TowersError", "shorten"]


class DataError(TowersError):
    """A file, a column or a value that can't be used; the text says which and what to do."""


class ChecksumError(DataError):
    """A file whose sha256 is not the expected one."""


class FetchError(DataError):
    """None of a data set's sources could be reached; the text names each with its reason."""
