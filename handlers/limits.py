"""What a server is configured to answer."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torchtowers.handlers.errors import ArtifactError, shorten

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """What a request may ask for; `torchtowers:` in an archive's model-config.yaml.

    Args:
        default_k: Items of a retrieval row that does not say; never more than max_k.
        max_k: The largest k; a k within it but above the catalogue gets the whole catalogue.
        max_rows: Rows of one request.
        max_exclude: Items that one row may exclude.
        candidates: Items that a model of two stages ranks of a row that does not say; None for as many as its
            artifact says. Never more than max_candidates.
        max_include: Items that one row may be kept to.
        max_filter_columns: Item columns that one row may filter by.
        max_filter_values: Values that one column may be filtered by.
        max_diversity_columns: Item columns that one row may cap.
        max_candidates: Candidates of one row to be ranked.
        max_scores: Candidates of all rows of one request together.
        max_body_bytes: Of one request's body; TorchServe's own limit is `max_request_size`.
        max_answer_bytes: Of one answer; TorchServe kills a worker whose answer is over `max_response_size`.
    """

    default_k: int = 10
    max_k: int = 10_000
    max_rows: int = 1_000
    max_exclude: int = 10_000
    candidates: int | None = None
    max_include: int = 10_000
    max_filter_columns: int = 16
    max_filter_values: int = 1_000
    max_diversity_columns: int = 4
    max_candidates: int = 10_000
    max_scores: int = 100_000
    max_body_bytes: int = 6_553_500
    max_answer_bytes: int = 6_000_000

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Limits":
        """Take the limits from a configuration that may hold other keys.

        Raises:
            ArtifactError: A limit is not a positive integer.
        """
        given = {field.name: config[field.name] for field in fields(cls) if field.name in config}
        for name, value in given.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ArtifactError(f"torchtowers.{name}: expected a positive integer, got {shorten(value)}")
        return cls(**given)
