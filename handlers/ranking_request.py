"""The rows of a request to a ranking model: a query's features, and the candidates to be scored for it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torchtowers.handlers.dialect import Request, request_of
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.errors import FieldError, LimitError, shorten
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.vocabulary import token_of

__all__ = ["OPTIONS", "Candidate", "RankingRow", "ranking_rows_of"]

OPTIONS = ("candidates", "k")

_CANDIDATE = "an item id (a string or an integer), or an object of item features"
_CANDIDATES = f"a list of candidates, each {_CANDIDATE}"


@dataclass(slots=True)
class Candidate:
    """An item to be scored.

    Args:
        id: Its id.
        features: Its features as they came, the id among them; None where only the id came.
        place: Where it stands, such as `candidates[3]`.
    """

    id: str
    features: Mapping[str, object] | None
    place: str


@dataclass(slots=True)
class RankingRow:
    """One query and its candidates.

    Args:
        features: The query's, by name, unchecked but for the names.
        candidates: What to score; one that is listed twice is answered twice.
        k: How many of the best to give, best first; None gives all, in their order.
        place: What stands before a field's name in an error, such as `instances[1].`.
    """

    features: Mapping[str, object]
    candidates: tuple[Candidate, ...]
    k: int | None = None
    place: str = ""


def ranking_rows_of(
    body: object, limits: Limits, query: Mapping[str, Encoder], item: Collection[str], key: str
) -> Request[RankingRow]:
    """Check a parsed body.

    Args:
        body: What came.
        limits: What is allowed.
        query: The features that a row has once, the id first.
        item: Names of the features that a candidate may have.
        key: The one of them that is its id.

    Raises:
        BodyError: There is no JSON object in it, or no row.
        FieldError: A field or option is unknown or of the wrong kind, or there are no candidates.
        LimitError: More rows or candidates than allowed.
    """
    request = request_of(body, limits.max_rows, _Reader(limits, query, item, key))
    scores = sum(len(row.candidates) for row in request.rows)
    if scores > limits.max_scores:
        raise LimitError(
            f"candidates: at most {limits.max_scores} in all rows of a request together, got {scores}",
            field="candidates",
        )
    return request


@dataclass(frozen=True)
class _Reader:
    """Checks candidates and options against what is allowed and what the model has."""

    limits: Limits
    names: Mapping[str, Encoder]
    item: Collection[str]
    key: str
    options: tuple[str, ...] = OPTIONS
    lists: frozenset[str] = frozenset({"candidates"})
    objects: frozenset[str] = frozenset()

    def row(self, features: Mapping[str, object], options: Mapping[str, Any], place: str) -> RankingRow:
        """Make a row."""
        candidates, k = options.get("candidates"), options.get("k")
        if candidates is None:
            raise FieldError.missing(f"{place}candidates", _CANDIDATES)
        if k is not None and k > len(candidates):
            raise FieldError(f"{place}k", k, f"at most {len(candidates)}, the number of candidates")
        return RankingRow(features, candidates, k, place)

    def option(self, name: str, value: object, field: str) -> object:
        """Check an option's value."""
        if name == "candidates":
            return self._candidates(value, field)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise FieldError(field, value, "an integer from 1 to the number of candidates")
        return value

    def _candidates(self, value: object, field: str) -> tuple[Candidate, ...]:
        if not isinstance(value, list) or not value:
            raise FieldError(field, value, _CANDIDATES)
        most = self.limits.max_candidates
        if len(value) > most:
            raise LimitError(f"{field}: at most {most} candidates a row, got {len(value)}", field=field)
        return tuple(
            self._candidate(element, f"{field}[{position}]") for position, element in enumerate(value)
        )

    def _candidate(self, value: object, place: str) -> Candidate:
        if not isinstance(value, Mapping):
            return Candidate(_token(value, place, _CANDIDATE), None, place)
        for name, given in value.items():
            if name not in self.item:
                raise FieldError(f"{place}.{shorten(name)}", given, f"a known field ({', '.join(self.item)})")
        token = _token(value.get(self.key), f"{place}.{self.key}", "its id, a string or an integer")
        return Candidate(token, value, place)


def _token(value: object, place: str, expected: str) -> str:
    token = token_of(value)
    if not token:
        raise FieldError(place, value, expected)
    return token
