"""Whether two answers of a model say the same, but for the last digits of scores."""

import math
from typing import Any

__all__ = ["TOLERANCE", "agree"]

TOLERANCE = 1e-4
"""Of scores: absolute up to 1 and relative above. Who shares a batch changes the last digits of float32."""


def agree(one: Any, other: Any, tolerance: float = TOLERANCE) -> bool:
    """Tell whether two parsed answers are the same within a tolerance of their numbers.

    Items whose scores lie within it may stand in each other's place; at the end of a list one may be missing
    for another.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return False
        if "items" in one and "scores" in one and one["items"] != other["items"]:
            return _same_ranking(one, other, tolerance)
        return all(agree(one[name], other[name], tolerance) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            agree(mine, its, tolerance) for mine, its in zip(one, other, strict=True)
        )
    if _is_float(one, other):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    return type(one) is type(other) and bool(one == other)


def _same_ranking(one: dict[str, Any], other: dict[str, Any], tolerance: float) -> bool:
    # Item columns follow their items, so the scores and the items decide.
    if len(one["items"]) != len(other["items"]) or not agree(one["scores"], other["scores"], tolerance):
        return False
    least = min(one["scores"]) + tolerance * max(1.0, abs(min(one["scores"])))
    mine, its = (dict(zip(answer["items"], answer["scores"], strict=True)) for answer in (one, other))
    for item in mine.keys() | its.keys():
        if item not in mine or item not in its:
            if max(mine.get(item, -math.inf), its.get(item, -math.inf)) > least:
                return False
        elif not agree(mine[item], its[item], tolerance):
            return False
    return True


def _is_float(one: Any, other: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return numbers and (isinstance(one, float) or isinstance(other, float))
