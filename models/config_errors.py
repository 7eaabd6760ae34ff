"""What is wrong with a configuration, in one line: the key, what came, what is allowed."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from torchtowers.data.errors import shorten

__all__ = ["explain"]


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """Turn the first of pydantic's findings into one line.

    Args:
        error: What validation raised.
        root: The section that was validated.
    """
    found = error.errors()
    first = found[0]
    place, section = _place(first["loc"], root)
    name = ".".join(place) or "the configuration"
    came = shorten(first["input"])
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    keys = list(section.model_fields)
    if first["type"] == "extra_forbidden":
        close = get_close_matches(place[-1], keys, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"{name}: unknown key, got {came}; allowed here: {', '.join(keys)}{hint}{more}"
    if first["type"] == "missing":
        return f"{name}: missing; it is needed{more}"
    if first["type"] == "union_tag_not_found":
        return f"{name}.kind: missing; it is needed: {_tags(first)}{more}"
    if first["type"] == "union_tag_invalid":
        return f"{name}.kind: got {shorten(first['input'].get('kind'))}, allowed: {_tags(first)}{more}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    message = message[0].lower() + message[1:]
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        # Of keys that don't go together, which it names.
        return f"{name}: {message}{more}" if place else f"{message}{more}"
    return f"{name}: got {came}, allowed: {message}{more}"


def _tags(finding: Any) -> str:
    tags: str = finding.get("ctx", {}).get("expected_tags", "")
    return tags or "one of the kinds that the documentation lists"


def _place(location: tuple[int | str, ...], root: type[BaseModel]) -> tuple[list[str], type[BaseModel]]:
    """Give the keys that a person wrote, and the section that the last one stands in."""
    place: list[str] = []
    section = root
    choices: list[type[BaseModel]] = [root]
    is_mapping = False
    for part in location:
        if is_mapping:
            is_mapping = False
        elif len(choices) > 1:
            # Between a section's key and its content stands the kind that was chosen for it.
            choices = [choice for choice in choices if part == _kind(choice)] or choices[:1]
            section = choices[0]
            continue
        elif choices:
            section = choices[0]
            field = section.model_fields.get(str(part))
            annotation = None if field is None else field.annotation
            choices = list(_sections(annotation))
            is_mapping = get_origin(annotation) is dict
        place.append(str(part))
    return place, section


def _kind(section: type[BaseModel]) -> str | None:
    field = section.model_fields.get("kind")
    kinds = () if field is None else get_args(field.annotation)
    return kinds[0] if kinds else None


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Give the sections that an annotation may hold, through unions, mappings and what is annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        if not isinstance(argument, str):
            yield from _sections(argument)
