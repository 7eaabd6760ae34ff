"""Requests to begin with: the examples of docs/requests.md, and one with every option in every dialect."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["EXAMPLES", "requests"]

_PAGE = (Path(__file__).parents[2] / "docs" / "requests.md").read_text(encoding="utf-8")

EXAMPLES = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", _PAGE, re.M | re.S)[::2]]
"""The page's requests; some are of a ranking model, and one is wrong."""

_FEATURES: dict[str, Any] = {"age": 31.5, "history": ["10", 11, "x"]}


def requests(users: Sequence[str], items: Sequence[str], kind: str) -> list[dict[str, Any]]:
    """Give good requests in every dialect, with every option of a kind of model.

    Args:
        users: At least two ids, known or not.
        items: At least three ids.
        kind: `retrieval`, `ranking` or `two_stage`.
    """
    options = _ranking_options(items) if kind == "ranking" else _options(items)
    if kind == "two_stage":
        options["candidates"] = 3
    needed = {"candidates": options["candidates"]} if kind == "ranking" else {}
    row = {"user_id": users[0], **_FEATURES, **options}
    tensors = [
        _tensor("user_id", "BYTES", [len(users)], list(users)),
        _tensor("age", "FP32", [len(users)], [30.0] * len(users)),
        _tensor("history", "BYTES", [len(users), 2], [items[0], ""] * len(users)),
        *_tensors(options, items),
    ]
    return [
        row,
        {"user_id": users[0], **needed},
        {"user_id": users[1], **needed, "parameters": options},
        {"signature_name": "serving_default", "instances": [row, {"user_id": users[1], **needed}], "k": 2},
        {"instances": list(users), **options},
        {"inputs": {"user_id": list(users), "age": [None, *[40] * (len(users) - 1)]}, **options},
        {"inputs": {"user_id": list(users), "k": [1] * len(users)}, **needed},
        {"id": "7", "inputs": tensors, "parameters": {"k": 2}},
        {"inputs": tensors, "outputs": [{"name": "items"}], "parameters": {"binary_data_output": True}},
        # A client may ask for one item as for many.
        {"inputs": tensors[0]["data"], **options},
    ]


def _options(items: Sequence[str]) -> dict[str, Any]:
    return {
        "k": 3,
        "exclude": [items[0], 11],
        "exclude_history": True,
        "include": list(items),
        "filter": {"genres": ["Drama", "Horror"], "year": {"min": 1900, "max": 2100}},
        "min_score": -1e6,
        "diversity": {"genres": 2},
        "fields": ["title", "year", "genres"],
    }


def _ranking_options(items: Sequence[str]) -> dict[str, Any]:
    return {"candidates": [items[0], 11, {"item_id": "new", "year": 1995}, items[0]], "k": 2}


def _tensors(options: dict[str, Any], items: Sequence[str]) -> list[dict[str, Any]]:
    if isinstance(options.get("candidates"), list):
        return [_tensor("candidates", "BYTES", [1, 3], list(items[:3]))]
    return [
        _tensor("k", "INT64", [1], [3]),
        _tensor("exclude", "BYTES", [1, 2], list(items[:2])),
        _tensor("exclude_history", "BOOL", [1], [True]),
        _tensor("min_score", "FP64", [1], [-1e6]),
        _tensor("fields", "BYTES", [1, 2], ["title", "year"]),
        _tensor("filter", "BYTES", [1], [json.dumps(options["filter"])]),
        _tensor("diversity", "BYTES", [1], ['{"genres": 2}']),
    ]


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}
