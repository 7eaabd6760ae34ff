import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.export.test_verification import index_of, sign_again, swap_embeddings, swap_ids, swap_strings
from torchtowers.export.errors import VerificationError
from torchtowers.export.verification import verify
from torchtowers.handlers.lookup import LookupColumn
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.vocabulary import Vocabulary
from torchtowers.models.experiment import Trained


def other_user_vocabulary(folder: Path) -> None:
    tokens = list(Vocabulary.load(folder, "encoders/user_id").tokens)
    tokens[10], tokens[11] = tokens[11], tokens[10]
    Vocabulary(tokens).save(folder, "encoders/user_id")


def shorter_word_vocabulary(folder: Path) -> None:
    tokens = Vocabulary.load(folder, "encoders/title").tokens
    Vocabulary(tokens[:-1]).save(folder, "encoders/title")


def other_boundaries(folder: Path) -> None:
    path = folder / "signature.json"
    text = path.read_text()
    assert text.count("30.0") == 1
    path.write_text(text.replace("30.0", "31.0"))


def wrong_lookup_row(folder: Path) -> None:
    path = folder / "lookup/age.values.npy"
    values = np.load(path)
    values[17] = values[17] % 4 + 1
    np.save(path, values)


def missing_from_a_long_history(folder: Path) -> None:
    """Leave out the oldest item of a history that is longer than what the tower takes."""
    stem = folder / "lookup/history"
    values, offsets = np.load(f"{stem}.values.npy"), np.load(f"{stem}.offsets.npy")
    row = int(np.argmax(np.diff(offsets)))
    assert offsets[row + 1] - offsets[row] > 12, "the tiny data has no long history"
    values = np.delete(values, offsets[row])
    offsets[row + 1 :] -= 1
    LookupColumn(values, offsets).save(folder, "lookup/history")


def swapped_titles(folder: Path) -> None:
    swap_strings(folder, Signature.read(folder).columns["title"].text)


def changed_embedding(folder: Path) -> None:
    path = folder / index_of(folder).embeddings
    embeddings = np.load(path)
    embeddings[59, 0] += 2e-5
    np.save(path, embeddings)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_user_vocabulary, "the inputs of user_id's tower"),
        (shorter_word_vocabulary, "the encoder of title"),
        (other_boundaries, "the encoder of age"),
        (wrong_lookup_row, "the age of known users"),
        (missing_from_a_long_history, "the whole history of known users"),
        (swap_ids, "the candidates' ids, row 3"),
        (swapped_titles, "column title, row 3"),
        (swap_embeddings, "the candidates' embeddings"),
        (changed_embedding, "the candidates' embeddings"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_one_wrong_value_anywhere_is_noticed_and_named(
    trained: Trained, artifact: Path, tmp_path: Path, change: Callable[[Path], None], named: str
) -> None:
    folder = Path(shutil.copytree(artifact, tmp_path / "copy"))
    change(folder)
    sign_again(folder)
    with pytest.raises(VerificationError, match=f"^{named}.* differ from the data's"):
        verify(folder, trained)
