from pathlib import Path

import pytest

from tests.servers import write_archive
from torchtowers.export.archive import build_archive
from torchtowers.export.signing import generate_key
from torchtowers.handlers.errors import ArtifactError, UntrustedError
from torchtowers.handlers.seal import PUBLIC_KEY
from torchtowers.serving.errors import ServingError
from torchtowers.serving.placing import clear_drafts, place, plan, remove


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "built").mkdir()
    return write_archive(tmp_path / "built", "m", version="2.0")


def test_a_copy_has_its_name_and_version(file: Path, store: Path) -> None:
    archive, placed = plan(file, store)
    assert (archive.file, archive.name, archive.version, placed) == ("m-2.0.mar", "m", "2.0", True)
    place(file, store, archive)
    assert [path.name for path in store.iterdir()] == ["m-2.0.mar"]
    assert (store / "m-2.0.mar").read_bytes() == file.read_bytes()
    # The same bytes are the same archive, wherever they lie.
    assert plan(file, store) == (archive, False)
    assert plan(store / "m-2.0.mar", store) == (archive, False)
    remove("m-2.0.mar", store)
    assert list(store.iterdir()) == []
    remove("m-2.0.mar", store)


def test_another_archive_of_the_same_version_is_refused(file: Path, store: Path) -> None:
    write_archive(store, "m", "# other", version="2.0", file="other.mar")
    with pytest.raises(ServingError, match=r"other\.mar is another archive of m 2\.0: .*version of its own"):
        plan(file, store)


def test_what_can_not_be_placed(file: Path, store: Path, artifact: Path) -> None:
    folder = build_archive(artifact, name="f", export_path=file.parent, archive_format="no-archive")
    with pytest.raises(ServingError, match=r"expected a \.mar or a \.tar\.gz"):
        plan(folder, store)
    strange = write_archive(file.parent, "m", version="2 0", file="strange.mar")
    with pytest.raises(ServingError, match="2 0 can't be part of a file's name"):
        plan(strange, store)
    with pytest.raises(ServingError, match="can't be put into the model store"):
        place(file, store / "none", plan(file, store)[0])


def test_a_damaged_archive_leaves_nothing(file: Path, store: Path) -> None:
    content = bytearray(file.read_bytes())
    content[content.index(b"class Echo")] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged"):
        place(file, store, plan(file, store)[0])
    assert list(store.iterdir()) == []


def test_nobodys_file_is_overwritten(file: Path, store: Path) -> None:
    archive, _ = plan(file, store)
    (store / archive.file).write_text("someone else's")
    with pytest.raises(ServingError, match=r"can't be put into the model store \(File exists\)"):
        place(file, store, archive)
    assert (store / archive.file).read_text() == "someone else's"


def test_a_signature_goes_along_and_is_checked(
    artifact: Path, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate_key(tmp_path / "key")
    signed = build_archive(artifact, name="m", export_path=tmp_path / "signed", sign=tmp_path / "key")
    unsigned = build_archive(artifact, name="n", export_path=tmp_path / "unsigned")
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "key.pub"))
    place(signed, store, plan(signed, store)[0])
    assert sorted(path.name for path in store.iterdir()) == ["m-1.0.mar", "m-1.0.mar.sig"]
    with pytest.raises(UntrustedError, match="is not signed"):
        place(unsigned, store, plan(unsigned, store)[0])
    remove("m-1.0.mar", store)
    assert list(store.iterdir()) == []


def test_what_a_killed_copy_left_goes(store: Path) -> None:
    (store / ".deploying-x").mkdir()
    write_archive(store / ".deploying-x", "m")
    clear_drafts(store)
    assert list(store.iterdir()) == []
