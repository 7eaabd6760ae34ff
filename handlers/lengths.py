"""Which rows of a batch go through a tower together: a batch is as wide as its longest list."""

from collections.abc import Sequence

__all__ = ["groups_by_length"]

# Elements of padded lists that take as long as one more call of a tower: measured with embeddings of dim 32.
_CALL = 3500


def groups_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Part rows so that little is padded; a further group has to save more than a call costs.

    Args:
        lengths: Of each row's longest list.

    Returns:
        The rows' places, each in one group.
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    groups = _parted(order, [lengths[place] for place in order])
    return groups if len(groups) > 1 else [list(range(len(lengths)))]


def _parted(places: list[int], lengths: list[int]) -> list[list[int]]:
    """Part rows in descending order where that saves most, and the two parts again."""
    count = len(places)
    best, at = _CALL, 0
    for place in range(1, count):
        saved = (lengths[0] - lengths[place]) * (count - place)
        if saved > best:
            best, at = saved, place
    if not at:
        return [places]
    return _parted(places[:at], lengths[:at]) + _parted(places[at:], lengths[at:])
