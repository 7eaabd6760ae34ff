"""Whether two answers of a model say the same, but for what rounding changes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["TOLERANCE", "Tolerance", "agree", "tolerance_of"]

TOLERANCE = 1e-4
"""Of float32 scores: absolute up to 1 and relative above. Who shares a batch changes the last digits."""

# The distance from 1 to the next number: 7 and 10 bits follow the first one.
_EPSILONS: Mapping[str, float] = {"bfloat16": 2.0**-7, "float16": 2.0**-10}
# Each layer rounds by half of that, and there are few. Scores of models trained on MovieLens differed by 0.6
# of it at most, with the index in half precision, too.
_EPSILONS_ALLOWED = 4
_SHARED = 0.5


@dataclass(frozen=True)
class Tolerance:
    """How far two answers of one model may differ.

    Args:
        scores: Of a score: absolute up to 1 and relative above.
        shared: The share of its items that a list has to have in common with the other. Below 1, the others
            may be any. Else they have to have scores that place them at the end of a list, within tolerance.
    """

    scores: float = TOLERANCE
    shared: float = 1.0


def tolerance_of(precision: str, kind: str) -> Tolerance:
    """Give what a precision costs.

    Half precision is allowed four times its epsilon: 0.031 of bfloat16, 0.0039 of float16. In two stages it
    decides, too, which items are found last; any of them can be the best by the ranking model, so the two
    lists have to have half of their items in common.

    Args:
        precision: `float32`, `bfloat16` or `float16`.
        kind: The model's, as its signature tells it.
    """
    if precision not in _EPSILONS:
        return Tolerance()
    shared = _SHARED if kind == "recommendation" else 1.0
    return Tolerance(_EPSILONS_ALLOWED * _EPSILONS[precision], shared)


def agree(one: Any, other: Any, tolerance: Tolerance | None = None) -> bool:
    """Tell whether two parsed answers are the same within a tolerance.

    Items whose scores lie within it may stand in each other's place; at the end of a list one may be missing
    for another.
    """
    tolerance = tolerance or Tolerance()
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
        return _is_near(one, other, tolerance)
    return type(one) is type(other) and bool(one == other)


def _same_ranking(one: dict[str, Any], other: dict[str, Any], tolerance: Tolerance) -> bool:
    # Item columns follow their items, so the scores and the items decide.
    if len(one["items"]) != len(other["items"]):
        return False
    mine, its = (dict(zip(answer["items"], answer["scores"], strict=True)) for answer in (one, other))
    common = mine.keys() & its.keys()
    if not all(_is_near(mine[item], its[item], tolerance) for item in common):
        return False
    if tolerance.shared < 1:
        return len(common) >= tolerance.shared * len(mine)
    return (
        agree(one["scores"], other["scores"], tolerance)
        and _ends_before(mine, its, tolerance)
        and _ends_before(its, mine, tolerance)
    )


def _ends_before(scores: Mapping[Any, float], without: Mapping[Any, float], tolerance: Tolerance) -> bool:
    """Tell whether the items that the other list is without can be behind its last one."""
    least = min(without.values())
    left = [score for item, score in scores.items() if item not in without]
    return all(score <= least or _is_near(score, least, tolerance) for score in left)


def _is_near(one: float, other: float, tolerance: Tolerance) -> bool:
    return math.isclose(one, other, rel_tol=tolerance.scores, abs_tol=tolerance.scores)


def _is_float(one: Any, other: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return numbers and (isinstance(one, float) or isinstance(other, float))
