"""Threads of a worker: as many as its part of the machine's cores, in numpy, too."""

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["limit_blas", "threads_of_worker"]

# Of the OpenBLAS that numpy's wheels carry, and of other builds.
_SETTERS = ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_", "openblas_set_num_threads")
_MAPS = Path("/proc/self/maps")


def threads_of_worker(config: object) -> int:
    """Divide all but one of the cores that this process may use among its model's workers, at least one each.

    The one is the server's: threads spin while they wait for their next part, and where they are as many as
    the cores the server waits for them; on two cores it answered 5 % fewer requests.

    Args:
        config: The parsed model-config.yaml, which tells how many workers there can be; or None.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = [config.get(name) for name in ("minWorkers", "maxWorkers")] if isinstance(config, Mapping) else []
    workers = max([1, *(count for count in given if isinstance(count, int))])
    return max(1, (cores - 1) // workers)


def limit_blas(threads: int) -> bool:
    """Set the threads of numpy's products, which take all cores otherwise; says whether that was possible.

    OpenBLAS reads its environment variable when numpy is imported, before a worker knows its settings.
    """
    if not _MAPS.exists():  # not Linux
        return False
    mapped = {line.split(maxsplit=5)[-1].strip() for line in _MAPS.read_text(errors="replace").splitlines()}
    libraries = [ctypes.CDLL(path) for path in sorted(mapped) if "openblas" in path.rpartition("/")[2]]
    setters = [getattr(library, name) for library in libraries for name in _SETTERS if hasattr(library, name)]
    for setter in setters:
        setter(threads)
    return bool(setters)
