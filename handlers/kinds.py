"""The kinds of models: which files of a runtime answer requests, and the handler that serves them."""

from collections.abc import Mapping

__all__ = ["SERVED", "handler_of"]

# By kind. Of two files, a manifest names the first one.
SERVED: Mapping[str, tuple[str, ...]] = {
    "retrieval": ("query",),
    "ranking": ("ranker",),
    "recommendation": ("query", "ranker"),
}


def handler_of(kind: str) -> str:
    """Name the handler's file of a kind of model."""
    return f"{kind}_handler.py"
