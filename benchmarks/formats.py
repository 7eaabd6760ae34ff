"""Archives of each runtime and of the fused files, asked the same random requests: do all answer alike?

    python benchmarks/formats.py artifacts/movielens artifacts/ratings artifacts/both
    python benchmarks/formats.py artifacts/movielens artifacts/ratings artifacts/both --served

Each request is one row. Every archive is unpacked and loaded as a worker does, in a process of its own; with
`--served` one TorchServe serves them all, and is asked over REST. The exit code is 1 where two answers differ
by more than the tolerance.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from random_requests import random_requests
from side import HERE

from torchtowers.cli.console import print_json, print_table
from torchtowers.export.archive import build_archive
from torchtowers.export.comparison import TOLERANCE, difference_of
from torchtowers.handlers.combined_signature import read_signature

_COLUMNS = ("artifact", "archive", "requests", "largest difference", "median ms", "bytes")

# A request to its scores by item, and the seconds that it took.
Ask = Callable[[Mapping[str, Any]], tuple[dict[str, float], float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of all artifacts' archives."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--served", action="store_true", help="by one TorchServe, over REST")
    parser.add_argument("--config", type=Path, default=HERE.parent / "config.properties", help="the server's")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        archives = {artifact: build(artifact, store, packed=given.served) for artifact in given.artifacts}
        answering = served(store, given.config) if given.served else unpacked(store)
        with answering as asked:
            rows = [
                row
                for artifact, names in archives.items()
                for row in measure(artifact, names, given.requests, given.seed, asked)
            ]
    if given.json:
        print_json(rows)
    else:
        print_table(list(_COLUMNS), [[row[name] for name in _COLUMNS] for row in rows], left=(0, 1))
    return 0 if all(float(row["largest difference"]) <= TOLERANCE for row in rows) else 1


def build(artifact: Path, store: Path, *, packed: bool) -> dict[str, int]:
    """Build an archive of each file that answers, and give their bytes by name."""
    signature = read_signature(artifact)
    bytes_of = {}
    for fused, runtimes in ((False, signature.towers), (True, signature.fused)):
        for runtime in runtimes:
            path = build_archive(
                artifact,
                name=f"{artifact.name}-{'fused-' if fused else ''}{runtime}",
                export_path=store,
                runtime=runtime,
                fused=fused,
                archive_format="default" if packed else "no-archive",
            )
            files = [path] if packed else [file for file in path.rglob("*") if file.is_file()]
            bytes_of[path.name.removesuffix(".mar")] = sum(file.stat().st_size for file in files)
    return bytes_of


@contextmanager
def unpacked(store: Path) -> Iterator[Callable[[str], Any]]:
    """Give what opens a worker's process by the archive's name."""
    yield lambda name: _process(store / name)


@contextmanager
def served(store: Path, config: Path) -> Iterator[Callable[[str], Any]]:
    """Serve all archives with one TorchServe, and give what asks one by its name."""
    from torchtowers.serving import Client, start, stop

    state = store.parent / "state"
    start(store, config=config, state=state, timeout=600)
    try:
        with Client.from_state(state) as client:
            yield lambda name: _connected(partial(client.predict, name))
    finally:
        stop(state)


@contextmanager
def _connected(predict: Callable[[Mapping[str, Any]], Any]) -> Iterator[Ask]:
    def ask(request: Mapping[str, Any]) -> tuple[dict[str, float], float]:
        begin = time.perf_counter()
        answer = predict(request)
        return _scores(answer), time.perf_counter() - begin

    yield ask


@contextmanager
def _process(folder: Path) -> Iterator[Ask]:
    command = [sys.executable, "-I", str(HERE / "handled.py"), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = process.stdout
        if not lines.readline():
            raise SystemExit(f"{folder.name} can't be loaded")

        def ask(request: Mapping[str, Any]) -> tuple[dict[str, float], float]:
            print(json.dumps(request), file=process.stdin, flush=True)
            answered = json.loads(lines.readline())
            if answered["status"] != 200:
                raise SystemExit(f"{folder.name} refuses {request}: {answered['answer']}")
            return _scores(answered["answer"]), answered["seconds"]

        yield ask
        process.stdin.close()


def measure(
    artifact: Path, archives: Mapping[str, int], count: int, seed: int, asked: Callable[[str], Any]
) -> list[dict[str, str]]:
    """Ask every archive the same requests; differences are to the first archive's answers."""
    requests = random_requests(artifact, count, seed)
    found: list[dict[str, str]] = []
    first: list[dict[str, float]] = []
    for name, size in archives.items():
        with asked(name) as ask:
            ask(requests[0])  # the first one is slower everywhere
            answers = [ask(request) for request in requests]
        scores = [own for own, _ in answers]
        first = first or scores
        found.append(
            {
                "artifact": artifact.name,
                "archive": name.removeprefix(f"{artifact.name}-").replace("-", " "),
                "requests": str(count),
                "largest difference": f"{max(map(_difference, scores, first)):.1e}",
                "median ms": f"{1000 * float(np.median([seconds for _, seconds in answers])):.2f}",
                "bytes": str(size),
            }
        )
    return found


def _scores(answer: Mapping[str, Any]) -> dict[str, float]:
    return dict(zip(answer["items"], answer["scores"], strict=True))


def _difference(one: dict[str, float], two: dict[str, float]) -> float:
    """Compare the scores of the items that both found, and all scores in their order."""
    common = one.keys() & two.keys()
    by_item = difference_of(_array(one, common), _array(two, common))
    return max(by_item, difference_of(_array(one, one), _array(two, two)))


def _array(scores: dict[str, float], items: Any) -> NDArray[np.float32]:
    return np.array([scores[item] for item in items], np.float32)


if __name__ == "__main__":
    sys.exit(main())
