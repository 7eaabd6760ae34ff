"""What verification asks a ranking model: users and candidates, known, unknown, or given by features."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.dataset import Dataset
from torchtowers.export.questions import Entities, encode_for_training, raw_rows
from torchtowers.export.tower_inputs import ranking_query
from torchtowers.handlers.request import Row

__all__ = ["body_of", "encode_pairs", "fused_rows", "ranking_rows"]

# Candidates of the rows in turn: a list of one, and such as span more than one batch of the model's.
_COUNTS = (3, 1, 11, 64)
# Of many rows, which together have candidates enough.
_FEW = (2, 1)
_MANY_ROWS = 64


def ranking_rows(query: Entities, items: Entities, batch: int) -> list[tuple[Row, list[Row]]]:
    """Give queries as requests have them, each with its candidates.

    Args:
        query: What a row has once.
        items: What each candidate has.
        batch: Queries.
    """
    counts = _COUNTS if batch <= _MANY_ROWS else _FEW
    queries = raw_rows(query, batch, 1)
    candidates = raw_rows(items, sum(counts[place % len(counts)] for place in range(batch)), 1)
    rows = []
    for position, row in enumerate(queries):
        count = counts[position % len(counts)]
        rows.append((row, candidates[:count]))
        candidates = candidates[count:]
    return rows


def fused_rows(rows: Sequence[tuple[Row, Sequence[Row]]], key: str) -> list[tuple[Row, list[Row]]]:
    """Give the rows with their candidates by ids alone, as a fused file takes them."""
    return [
        (query, [replace(candidate, features={key: candidate.features[key]}) for candidate in candidates])
        for query, candidates in rows
    ]


def body_of(rows: Sequence[tuple[Row, Sequence[Row]]], key: str) -> dict[str, Any]:
    """Give the rows as a request; a candidate with nothing but its id, which is called `key`, is that id."""
    return {
        "instances": [
            {
                **query.features,
                "candidates": [
                    dict(candidate.features) if len(candidate.features) > 1 else candidate.features[key]
                    for candidate in candidates
                ],
            }
            for query, candidates in rows
        ]
    }


def encode_pairs(
    dataset: Dataset, rows: Sequence[tuple[Row, Sequence[Row]]], *, lookup: bool
) -> dict[str, NDArray[Any]]:
    """Encode each candidate with its query from the data, without anything that was exported.

    Args:
        dataset: The data.
        rows: As `ranking_rows` gives them.
        lookup: Whether known users' and items' own values stand in for those that are left out.

    Returns:
        By tensor, as many rows as there are candidates.
    """
    owners = np.repeat(np.arange(len(rows)), [len(candidates) for _, candidates in rows])
    queries = encode_for_training(ranking_query(dataset), [query for query, _ in rows], lookup=lookup)
    items = [candidate for _, candidates in rows for candidate in candidates]
    return {
        **{name: values[owners] for name, values in queries.items()},
        **encode_for_training(dataset.items, items, lookup=lookup),
    }
