"""Many clients that ask without a pause, and count what came back."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchtowers.handlers.errors import TowersError
from torchtowers.serving import Client, Retry

_PAUSE = 0.1


@dataclass
class Load:
    """What a crowd of clients has seen.

    Attributes:
        answers: How many answers each version gave; the version is the last item of the test's answers.
        failures: The texts of errors.
    """

    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.answers.values())

    def wait_for(self, count: int, version: str | None = None) -> None:
        """Wait for so many more answers, of that version."""
        wanted = (self.answers[version] if version else self.total) + count
        until = time.monotonic() + 60
        while (self.answers[version] if version else self.total) < wanted:
            assert time.monotonic() < until, f"no answers: {self.answers}, {self.failures[:3]}"
            time.sleep(0.01)


@contextmanager
def load(
    state: Path,
    name: str,
    body: Mapping[str, Any],
    *,
    clients: int,
    retry: Retry | None = None,
    **options: Any,
) -> Iterator[Load]:
    """Ask by so many threads, for the block; each pauses a moment, as they share a core.

    Nothing is sent again unless `retry` says so: every request that fails is seen.
    """
    seen = Load()
    stopped = threading.Event()
    lock = threading.Lock()

    def ask(client: Client) -> None:
        while not stopped.wait(_PAUSE):
            try:
                answer = client.predict(name, body, **options)
            except TowersError as error:
                with lock:
                    seen.failures.append(f"{type(error).__name__}: {error}")
            else:
                with lock:
                    seen.answers[answer["items"][-1]] += 1

    with Client.from_state(state, retry=retry or Retry(times=0)) as client:
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield seen
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
