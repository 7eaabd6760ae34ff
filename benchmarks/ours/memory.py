"""The memory of this process, as Linux tells it."""

import threading
from pathlib import Path

__all__ = ["Peak", "anonymous_bytes", "peak_bytes"]


def anonymous_bytes() -> int:
    """Give the memory that is this process's own: what it maps of files can be given back at any time."""
    return _bytes_of("RssAnon")


class Peak:
    """The most anonymous memory in a while, beyond what there was."""

    def __enter__(self) -> "Peak":
        self._before = self._most = anonymous_bytes()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def bytes(self) -> int:
        """How much it was."""
        return self._most - self._before

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            self._most = max(self._most, anonymous_bytes())


def peak_bytes() -> int:
    """Give this process's largest resident memory; getrusage's would include that of who started it."""
    return _bytes_of("VmHWM")


def _bytes_of(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])
