"""One served model as a page shows it: its users with their histories, its item columns, its form."""

import heapq
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torchtowers.handlers.combined_signature import AnySignature, CombinedSignature
from torchtowers.handlers.encoders import FIRST_TOKEN, MISSING, UNKNOWN, Encoded, Encoder
from torchtowers.handlers.query_encoder import QueryEncoder
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.vocabulary import token_of
from torchtowers.serving.demo_archive import column_stems, unpack
from torchtowers.serving.demo_columns import describe_column, title_column
from torchtowers.serving.demo_profile import field_of, readable, tokens_of

__all__ = ["ShownModel"]

_FUSED = (
    "This archive is one fused file, which keeps users and their histories inside of it: type a user's id. "
    "Known ones are looked up by the model, and can't be searched for here."
)
_RANKING = (
    "This is a ranking model: it scores the candidates that you list, by their ids. It has no catalogue to "
    "search, so there are no exclusions, filters, thresholds or caps, and no titles."
)


class ShownModel:
    """What is known of a model without running it.

    Args:
        signature: The archive's signature.
        folder: Where the files of `described_files` are.

    Raises:
        ArtifactError: A file is malformed.
    """

    def __init__(self, signature: AnySignature, folder: Path) -> None:
        self.kind = signature.kind
        # What a second stage takes of the user.
        self.ranker: QueryEncoder | None = None
        if isinstance(signature, CombinedSignature):
            ranking, signature = signature.ranking, signature.retrieval
            self.ranker = QueryEncoder(ranking.query, folder, ranking.history)
        self.signature = signature
        fused = signature.is_fused
        self.encoder = QueryEncoder(signature.query, None if fused else folder, signature.history)
        self.ids = None if signature.index is None else StringTable.load(folder, signature.index.ids)
        self.columns = {
            name: StringTable.load(folder, stem) for name, stem in column_stems(signature).items()
        }
        self.candidates: Sequence[str] = ()
        if self.is_ranking and not fused and signature.candidate is not None:
            self.candidates = QueryEncoder(signature.candidate, folder, None).tokens

    @classmethod
    def load(cls, archive: Path, folder: Path) -> "ShownModel":
        """Unpack what is needed of an archive into `folder`, and load it.

        Raises:
            ServingError: It can't be read, or is no archive of ours.
            ArtifactError: A file is missing, altered or malformed.
        """
        return cls(*unpack(archive, folder))

    @property
    def is_ranking(self) -> bool:
        """Whether it scores candidates of the request rather than search its own."""
        return self.signature.index is None

    @cached_property
    def described(self) -> dict[str, dict[str, Any]]:
        """The item columns, as `describe_column` tells of them."""
        return {name: describe_column(name, table) for name, table in self.columns.items()}

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The features that a request may hold, of both stages where there are two."""
        return {**self.encoder.encoders, **self._of_ranker_alone}

    @property
    def _of_ranker_alone(self) -> dict[str, Encoder]:
        others = {} if self.ranker is None else self.ranker.encoders
        return {name: encoder for name, encoder in others.items() if name not in self.encoder.fields}

    @property
    def texts(self) -> list[str]:
        """The item columns whose values are texts."""
        return [name for name, column in self.described.items() if column["kind"] in ("text", "choice")]

    def describe(self) -> dict[str, Any]:
        """Give what the page's controls depend on."""
        spec = self.signature.query
        stages = [self.encoder] if self.ranker is None else [self.encoder, self.ranker]
        required = {feature.name for stage in stages for feature in stage.spec.features if feature.required}
        notes = [_RANKING] if self.is_ranking else []
        return {
            "kind": self.kind,
            "key": spec.key,
            "users": len(self.encoder.tokens),
            "items": len(self.candidates) if self.ids is None else len(self.ids),
            "features": [
                field_of(name, encoder, required=name in required)
                for name, encoder in self.encoders.items()
                if name != spec.key
            ],
            "history": self.signature.history,
            "columns": list(self.described.values()),
            "title": title_column(self.described),
            "candidates": _spread(self.candidates, 20),
            "notes": notes + ([_FUSED] if self.signature.is_fused else []),
        }

    def users(self, text: str, most: int = 20) -> list[str]:
        """Find known users: those whose id begins with the text, then those that have it anywhere."""
        wanted = text.strip().casefold()
        begins = (token for token in self.encoder.tokens if token.casefold().startswith(wanted))
        found = heapq.nsmallest(most, begins, key=_length_first)
        if len(found) < most:
            holds = (token for token in self.encoder.tokens if wanted in token.casefold()[1:])
            others = (token for token in holds if not token.casefold().startswith(wanted))
            found += heapq.nsmallest(most - len(found), others, key=_length_first)
        return found

    def profile(self, user: str) -> dict[str, Any]:
        """Tell what is known of a user, the newest of the history first.

        Returns:
            `user`, `known`, `features` as pairs of name and text, and `history` as items with `id`, and
            `fields` by column.
        """
        values = _looked_up(self.encoder, user)
        known = values is not None
        of_ranker = (self.ranker and _looked_up(self.ranker, user)) or {}
        values = {
            **{name: of_ranker[name] for name in self._of_ranker_alone if name in of_ranker},
            **(values or {}),
        }
        history: list[str] = []
        if self.encoder.history is not None and self.encoder.history_name in values:
            history = tokens_of(self.encoder.history, values.pop(self.encoder.history_name))[::-1]
        texts = ((name, readable(self.encoders[name], value)) for name, value in values.items())
        return {
            "user": user,
            "known": known,
            "features": [[name, text] for name, text in texts if text is not None],
            "history": self.items(history),
        }

    def items(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        """Give items with their columns; one that is no candidate has none."""
        return [{"id": item, "fields": self._fields(item)} for item in ids]

    def _fields(self, item: str) -> dict[str, Any]:
        row = self._rows.get(item)
        if row is None:
            return {}
        return {name: json.loads(table.raw(row)) for name, table in self.columns.items()}

    @cached_property
    def _rows(self) -> dict[str, int]:
        """The index's row of each id."""
        if self.ids is None:
            return {}
        tokens = map(token_of, self.ids.json_values("the index's ids"))
        return {token: row for row, token in enumerate(tokens) if token is not None}


def _looked_up(stage: QueryEncoder, user: str) -> dict[str, Encoded] | None:
    """Give what a model knows of a user; None where it knows none of that id."""
    index = stage.ids.encode_value(user, stage.key) if user else MISSING
    if index in (MISSING, UNKNOWN):
        return None
    return {name: table.get(index - FIRST_TOKEN) for name, table in stage.lookup.items()}


def _length_first(token: str) -> tuple[int, str]:
    """Order numbers by their size, which as texts they are not."""
    return len(token), token


def _spread(values: Sequence[str], most: int) -> list[str]:
    """Take some of many, from all over."""
    step = max(1, len(values) // most)
    return list(values[::step][:most])
