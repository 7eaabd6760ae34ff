"""Typed access to the parsed JSON of a signature; errors name the place."""

from pathlib import PurePosixPath
from typing import Any, TypeVar

from torchtowers.handlers.errors import SignatureError, shorten

__all__ = ["JsonReader", "inside"]

T = TypeVar("T")


class JsonReader:
    """One object of signature.json.

    Args:
        content: The parsed JSON.
        place: Where it stands, such as `signature.index`.

    Raises:
        SignatureError: It is no object.
    """

    def __init__(self, content: Any, place: str) -> None:
        if not isinstance(content, dict):
            raise SignatureError(f"{place} in signature.json has to be an object, got {shorten(content)}")
        self.content: dict[str, Any] = content
        self.place = place

    def get(self, name: str, kind: type[T]) -> T:
        """Give a value that has to be there and of that type.

        Raises:
            SignatureError: It is missing or of another type.
        """
        value = self.content.get(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            place = f"{self.place}.{shorten(name)}"
            raise SignatureError(f"{place} in signature.json: expected {kind.__name__}, got {shorten(value)}")
        return value

    def optional(self, name: str, kind: type[T]) -> T | None:
        """Give a value of that type, or None where it is null or missing."""
        return None if self.content.get(name) is None else self.get(name, kind)

    def path(self, name: str) -> str:
        """Give the name of a file inside the artifact, or the stem of several.

        Raises:
            SignatureError: It points outside the artifact's folder.
        """
        return inside(self.get(name, str))

    def child(self, name: str) -> "JsonReader":
        """Read an object inside this one."""
        return JsonReader(self.get(name, dict), f"{self.place}.{shorten(name)}")

    def children(self) -> dict[str, "JsonReader"]:
        """Read every value as an object."""
        return {name: self.child(name) for name in self.content}

    def strings(self) -> dict[str, str]:
        """Read every value as a string."""
        return {name: self.get(name, str) for name in self.content}

    def paths(self) -> dict[str, str]:
        """Read every value as `path` does."""
        return {name: self.path(name) for name in self.content}


def inside(name: str) -> str:
    """Give a file's name back where it is inside the artifact.

    Raises:
        SignatureError: It is not.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
        raise SignatureError(f"signature.json names a file outside the artifact: {shorten(name)}")
    return name
