"""What the signature says of an item column: its files, and how its values are compared."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torchtowers.handlers.errors import SignatureError, shorten
from torchtowers.handlers.json_reader import JsonReader
from torchtowers.handlers.strings import StringTable

__all__ = ["ColumnSpec"]

_KINDS = ("text", "number", "other")


@dataclass(frozen=True)
class ColumnSpec:
    """An item column, once as the JSON text of an answer and once as what a filter compares.

    Args:
        text: The stem of the files of the JSON text.
        filter: The stem of the files that are compared.
        kind: `text`, where all values are texts; `number`; or `other`, such as booleans, and kinds that are
            mixed, which are compared by their JSON text.
        is_list: Whether an item has a list of such values.
    """

    text: str
    filter: str
    kind: str
    is_list: bool

    @property
    def values(self) -> str:
        """The file of numbers, float64, or of the places of texts among `distinct`, int32."""
        return f"{self.filter}.{'numbers' if self.kind == 'number' else 'codes'}.npy"

    @property
    def distinct(self) -> str:
        """The stem of the files of the distinct values, in ascending order."""
        return f"{self.filter}.distinct"

    @property
    def starts(self) -> str:
        """The file of where each item's list begins, int64."""
        return f"{self.filter}.starts.npy"

    def files(self) -> Iterator[str]:
        """Name all files."""
        yield from StringTable.files(self.text)
        yield self.values
        if self.kind != "number":
            yield from StringTable.files(self.distinct)
        if self.is_list:
            yield self.starts

    def to_json(self) -> dict[str, Any]:
        """Give what the signature holds."""
        return {"text": self.text, "filter": self.filter, "kind": self.kind, "list": self.is_list}

    @classmethod
    def from_json(cls, reader: JsonReader) -> "ColumnSpec":
        """Read what the signature says.

        Raises:
            SignatureError: It is malformed, or of a kind unknown to this code.
        """
        kind = reader.get("kind", str)
        if kind not in _KINDS:
            raise SignatureError(
                f"{reader.place}.kind in signature.json: expected {', '.join(_KINDS)}, got {shorten(kind)}"
            )
        return cls(reader.path("text"), reader.path("filter"), kind, reader.get("list", bool))
