"""One side of a measurement: a process of its own that prepares work and times rounds of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from types import TracebackType

__all__ = ["HERE", "Side", "peer_python", "take_turns"]

HERE = Path(__file__).parent


def peer_python(name: str = "tfrs") -> str:
    """Give an interpreter of peers, `tfrs` or `serving`; make their environment where it is not there."""
    made = subprocess.run([HERE / "peer-environment", name], check=True, stdout=subprocess.PIPE, text=True)
    return made.stdout.strip()


class Side:
    """A process that runs one piece of work.

    Args:
        module: Such as `peers.train_tfrs`, below benchmarks/.
        work: The work's name there.
        python: The interpreter; our own if not given.
    """

    def __init__(self, module: str, work: str, python: str = sys.executable) -> None:
        self.name = f"{module} {work}"
        self.seconds: list[float] = []
        self.peak_bytes = 0
        # Keras 2 is what TFRS needs; TensorFlow's log lines are no result.
        environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            [python, "-m", module, work],
            cwd=HERE,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._read()

    def round(self, steps: int) -> None:
        """Time a round of steps; the mean seconds a step are kept."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"steps": steps}) + "\n")
        self._process.stdin.flush()
        answered = self._read()
        self.seconds.append(answered["seconds"])
        self.peak_bytes = answered["peak_bytes"]

    @property
    def median(self) -> float:
        """Median of the rounds' seconds a step."""
        return median(self.seconds)

    def __enter__(self) -> "Side":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Killed, since tearing down tf.data's iterators can stall for minutes.
        self._process.kill()
        self._process.communicate()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, said = self._process.communicate()
            raise SystemExit(f"{self.name} ended early:\n{said[-3000:]}")
        answered: dict[str, float] = json.loads(line)
        return answered


def take_turns(sides: list[tuple[Side, int]], rounds: int) -> None:
    """Let sides run by turns, so that what else the machine does falls on all of them.

    Args:
        sides: Each with its steps a round.
        rounds: Of each.
    """
    for _ in range(rounds):
        for side, steps in sides:
            side.round(steps)
