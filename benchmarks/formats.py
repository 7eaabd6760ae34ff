"""Random requests to an artifact in each of its formats and its fused files: do all answer alike, how fast?

    python benchmarks/formats.py artifacts/movielens artifacts/ratings

Each request is one row. The exit code is 1 where two answers differ by more than the tolerance.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.cli.console import print_json, print_table
from torchtowers.export.comparison import TOLERANCE, difference_of
from torchtowers.export.questions import Entities, raw_rows
from torchtowers.export.ranking_questions import body_of
from torchtowers.export.ranking_verification import ranking_inputs
from torchtowers.export.retrieval_verification import retrieval_inputs
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.fused import load_fused
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.request import Row
from torchtowers.handlers.signature import Signature

_K = 100
_CANDIDATES = 20

# A request's scores by item.
Scores = dict[str, float]
Answer = Callable[[Any], Scores]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each artifact."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    rows = [row for artifact in given.artifacts for row in measure(artifact, given.requests, given.seed)]
    if given.json:
        print_json(rows)
    else:
        names = ["artifact", "format", "requests", "largest difference", "median ms", "bytes"]
        print_table(names, [[row[name] for name in names] for row in rows], left=(0, 1))
    return 0 if all(float(row["largest difference"]) <= TOLERANCE for row in rows) else 1


def measure(artifact: Path, count: int, seed: int) -> list[dict[str, str]]:
    """Ask every format the same requests; differences are to the first format's answers."""
    signature = Signature.read(artifact)
    generator = np.random.default_rng(seed)
    is_ranking = signature.kind == "ranking"
    requests, answers = (_ranking if is_ranking else _retrieval)(artifact, signature, count, generator)
    found: list[dict[str, str]] = []
    first: list[Scores] = []
    for (name, file), answer in answers.items():
        times, scores = [], []
        for request in requests:
            begin = time.perf_counter()
            scores.append(answer(request))
            times.append(time.perf_counter() - begin)
        first = first or scores
        found.append(
            {
                "artifact": artifact.name,
                "format": name,
                "requests": str(count),
                "largest difference": f"{max(map(_difference, scores, first)):.1e}",
                "median ms": f"{1000 * float(np.median(times)):.2f}",
                "bytes": f"{(artifact / file).stat().st_size}",
            }
        )
    return found


def _difference(one: Scores, two: Scores) -> float:
    """Compare the scores of the items that both found, and all scores in their order."""
    common = one.keys() & two.keys()
    by_item = difference_of(_array(one, common), _array(two, common))
    return max(by_item, difference_of(_array(one, one), _array(two, two)))


def _array(scores: Scores, items: Any) -> NDArray[np.float32]:
    return np.array([scores[item] for item in items], np.float32)


def _random_rows(entities: Entities, count: int, generator: np.random.Generator) -> list[Row]:
    """Mix values of every kind at random: each feature is sent, left out, missing, unknown or extreme."""
    pool = raw_rows(entities, 4 * count, _K)
    sent = {name: [row.features[name] for row in pool if name in row.features] for name in entities.encoders}
    rows = []
    for place in generator.permutation(len(pool))[:count]:
        features: dict[str, object] = {entities.key: pool[place].features[entities.key]}
        for name, values in sent.items():
            if name != entities.key and values and generator.random() < 0.5:
                features[name] = values[generator.integers(len(values))]
        rows.append(Row(features, k=_K))
    return rows


def _retrieval(
    artifact: Path, signature: Signature, count: int, generator: np.random.Generator
) -> tuple[list[Any], dict[tuple[str, str], Answer]]:
    loaded = {name: Recommender.load(artifact, runtime=name) for name in signature.towers}
    recommender = next(iter(loaded.values()))
    names = recommender.index.ids.json_values("ids")
    has_history = recommender.encoder.history is not None
    rows = [
        replace(
            row,
            exclude=tuple(generator.choice(names, generator.integers(0, 6)).tolist()),
            exclude_history=has_history and bool(generator.integers(2)),
        )
        for row in _random_rows(recommender.encoder, count, generator)
    ]
    answers: dict[tuple[str, str], Answer] = {}
    for name, own in loaded.items():
        answers[name, signature.towers[name]["query"]] = lambda row, own=own: _found(own, row)
    for name, file in signature.fused.items():
        model = load_fused(name, artifact / file)
        answers[f"fused {name}", file] = lambda row, model=model: dict(
            zip(*_lists(model(retrieval_inputs(recommender, [row]))), strict=True)
        )
    return rows, answers


def _found(recommender: Recommender, row: Row) -> Scores:
    options = {"k": row.k, "exclude": list(row.exclude), "exclude_history": row.exclude_history}
    answer = recommender.recommend({**row.features, **options})
    return dict(zip(answer["items"], answer["scores"], strict=True))


def _ranking(
    artifact: Path, signature: Signature, count: int, generator: np.random.Generator
) -> tuple[list[Any], dict[tuple[str, str], Answer]]:
    loaded = {name: CandidateRanker.load(artifact, runtime=name) for name in signature.towers}
    ranker = next(iter(loaded.values()))
    key, names = ranker.item.key, [*ranker.item.tokens, "no such item"]
    requests = [
        (
            row,
            [
                Row({key: name}, k=1)
                for name in generator.choice(names, min(len(names), _CANDIDATES), replace=False).tolist()
            ],
        )
        for row in _random_rows(ranker.query, count, generator)
    ]
    answers: dict[tuple[str, str], Answer] = {}
    for name, own in loaded.items():
        answers[name, signature.towers[name]["ranker"]] = lambda asked, own=own: _scored(own, asked, key)
    for name, file in signature.fused.items():
        model = load_fused(name, artifact / file)
        answers[f"fused {name}", file] = lambda asked, model=model: dict(
            zip(*_lists(model(ranking_inputs(ranker, [asked]))), strict=True)
        )
    return requests, answers


def _scored(ranker: CandidateRanker, asked: tuple[Row, list[Row]], key: str) -> Scores:
    (answer,) = ranker.rank(body_of([asked], key))["predictions"]
    return dict(zip(answer["items"], answer["scores"], strict=True))


def _lists(answers: Sequence[tuple[list[str], NDArray[np.float32]]]) -> tuple[list[str], list[float]]:
    ((items, scores),) = answers
    return items, scores.tolist()


if __name__ == "__main__":
    sys.exit(main())
