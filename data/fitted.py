"""What is fitted to the data, once: the rows of the ids and the features' encoders, in one file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchtowers.data.errors import DataError, TowersError
from torchtowers.handlers.encoders import Encoder, Vocabulary, encoder_from_json

__all__ = ["Fitted"]

# What reading a file raises that is no JSON, or not of this form.
_DAMAGED = (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, TowersError)


@dataclass(frozen=True)
class Fitted:
    """All that turns raw values into a model's inputs.

    Args:
        users: The users' ids, in the order of their rows.
        items: The items' ids, likewise.
        encoders: Of every feature, by name.
    """

    users: Vocabulary
    items: Vocabulary
    encoders: Mapping[str, Encoder]

    def save(self, path: Path) -> None:
        """Write a JSON file, each vocabulary once, however many features share it."""
        shared = {id(vocabulary): vocabulary for vocabulary in (self.users, self.items)}
        encoders = {}
        for name, encoder in self.encoders.items():
            description: dict[str, Any] = encoder.to_json()
            vocabulary = getattr(encoder, "vocabulary", None)
            if vocabulary is not None:
                shared.setdefault(id(vocabulary), vocabulary)
                description["vocabulary"] = list(shared).index(id(vocabulary))
            encoders[name] = description
        places = list(shared)
        content = {
            "users": places.index(id(self.users)),
            "items": places.index(id(self.items)),
            "encoders": encoders,
            "vocabularies": [vocabulary.tokens for vocabulary in shared.values()],
        }
        path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Fitted":
        """Read what `save` wrote.

        Raises:
            DataError: The file is missing or damaged.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            vocabularies = [Vocabulary(tokens) for tokens in content["vocabularies"]]
            encoders = {
                name: encoder_from_json(
                    description,
                    vocabularies[description["vocabulary"]] if "vocabulary" in description else None,
                )
                for name, description in content["encoders"].items()
            }
            return cls(vocabularies[content["users"]], vocabularies[content["items"]], encoders)
        except OSError as error:
            raise DataError(f"{path} can't be read ({error.strerror}): train the run again") from error
        except _DAMAGED as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{path} is damaged ({reason}): train the run again") from error
