"""Values as the JSON text that an answer will hold: of the items' ids, and of their columns."""

import json
from collections.abc import Iterable

from torchtowers.export.errors import ExportError
from torchtowers.handlers.strings import StringTable

__all__ = ["json_table", "json_text"]

# One for all values: json.dumps would make one for each.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

json_text = _ENCODER.encode
"""Gives one value's JSON text."""


def json_table(what: str, values: Iterable[object]) -> StringTable:
    """Pack values.

    Args:
        what: They are, for errors.
        values: One a row.

    Raises:
        ExportError: JSON can't hold one.
    """
    try:
        return StringTable.of(map(json_text, values))
    except (TypeError, ValueError) as error:
        raise ExportError(
            f"{what}: an answer is JSON, which can't hold it ({error}); leave it out, or make it text"
        ) from error
