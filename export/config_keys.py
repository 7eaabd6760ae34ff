"""The keys of model-config.yaml that TorchServe 0.12 knows; what it does not know it passes over in silence.

Source: `org.pytorch.serve.archive.model.ModelConfig` of the server's jar, and what its Python side reads.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

__all__ = ["BACKEND_KEYS", "SERVER_KEYS", "config_faults"]

# The least integer that makes sense; or what else a value has to be.
SERVER_KEYS: Mapping[str, int | type | tuple[str, ...] | str] = {
    "minWorkers": 1,
    "maxWorkers": 1,
    "batchSize": 1,
    # 0 stands for the default, 100.
    "maxBatchDelay": 1,
    "responseTimeout": 1,
    "startupTimeout": 1,
    "deviceType": ("cpu", "gpu"),
    "deviceIds": "integers",
    "parallelLevel": 1,
    "parallelType": ("pp", "tp", "pptp", "custom"),
    "torchrun": dict,
    "maxRetryTimeoutInSec": 0,
    "clientTimeoutInMills": 0,
    "jobQueueSize": 1,
    "useJobTicket": bool,
    "sequenceMaxIdleMSec": 0,
    "sequenceTimeoutMSec": 0,
    "maxSequenceJobQueueSize": 1,
    "maxNumSequence": 1,
    "continuousBatching": bool,
    "sequenceBatching": bool,
    "asyncCommunication": bool,
    "useVenv": bool,
}

# Read by handlers and by TorchServe's Python side, which leave their types to themselves.
BACKEND_KEYS = frozenset({"handler", "micro_batching", "pt2", "torchtowers"})

_NAMES: Mapping[type, str] = {bool: "true or false", dict: "a mapping"}


def config_faults(content: Any) -> Iterator[tuple[str, str, str]]:
    """Compare a parsed model-config.yaml with the server's own list of keys.

    Yields:
        What is wrong, `unknown` or `mistyped`; the key; and what to do.
    """
    if content is None:
        return
    if not isinstance(content, Mapping):
        yield "mistyped", "", f"expected a mapping of keys, got {type(content).__name__}"
        return
    for key, value in content.items():
        if key in SERVER_KEYS:
            expected = _expected(SERVER_KEYS[key], value)
            if expected is not None:
                yield "mistyped", key, f"expected {expected}, got {value!r}"
        elif key not in BACKEND_KEYS:
            near = get_close_matches(str(key), [*SERVER_KEYS, *BACKEND_KEYS], n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            yield "unknown", str(key), f"TorchServe passes over it in silence{meant}"
    least, most = content.get("minWorkers"), content.get("maxWorkers")
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield "mistyped", "maxWorkers", f"expected at least minWorkers, {least}, got {most}"


def _expected(rule: int | type | tuple[str, ...] | str, value: object) -> str | None:
    """Say what a value has to be, where it is not."""
    if isinstance(rule, type):
        return None if isinstance(value, rule) else _NAMES[rule]
    if isinstance(rule, tuple):
        return None if value in rule else " or ".join(rule)
    if isinstance(rule, int):
        return None if _is_integer(value, rule) else f"an integer of at least {rule}"
    is_list = isinstance(value, list) and all(_is_integer(entry, 0) for entry in value)
    return None if is_list else "a list of integers of at least 0"


def _is_integer(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
