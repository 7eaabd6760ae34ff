import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.export.archives import contents_of, rewritten
from tests.servers import write_archive
from torchtowers.export.archive import build_archive
from torchtowers.handlers.errors import ArtifactError
from torchtowers.serving.integrity import require_intact


@pytest.mark.parametrize("form", ["default", "tgz", "no-archive"])
def test_what_was_built_is_intact(artifact: Path, tmp_path: Path, form: str) -> None:
    require_intact(build_archive(artifact, name="m", export_path=tmp_path, archive_format=form))


def test_an_archive_of_another_tool_has_no_hashes_to_compare(tmp_path: Path) -> None:
    require_intact(write_archive(tmp_path, "m"))


def test_what_is_altered_missing_or_added_is_named(artifact: Path, tmp_path: Path) -> None:
    built = build_archive(artifact, name="m", export_path=tmp_path)
    contents = contents_of(built)
    altered = rewritten(built, tmp_path / "altered.mar", {"signature.json": b"{}"})
    with pytest.raises(ArtifactError, match=r"altered\.mar: signature\.json was altered: its sha256"):
        require_intact(altered)
    for name, extra, message in (
        ("missing.mar", {}, "signature.json is missing"),
        ("added.mar", {"evil.py": b"", "signature.json": contents["signature.json"]}, "evil.py is not in"),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, content in ({**contents, "signature.json": b""} | extra).items():
                if member != "signature.json" or extra:
                    archive.writestr(member, content)
        with pytest.raises(ArtifactError, match=message):
            require_intact(tmp_path / name)


def test_a_cut_or_flipped_file_is_damaged(artifact: Path, tmp_path: Path) -> None:
    for form, name in (("default", "m.mar"), ("tgz", "m.tar.gz")):
        built = build_archive(artifact, name="m", export_path=tmp_path / form, archive_format=form)
        content = built.read_bytes()
        flipped = bytearray(content)
        flipped[_inside_a_member(built)] ^= 0xFF
        for bad in (content[: len(content) // 2], bytes(flipped)):
            (tmp_path / name).write_bytes(bad)
            with pytest.raises(ArtifactError, match=r"m\.(mar|tar\.gz): .*(damaged|altered)"):
                require_intact(tmp_path / name)


def _inside_a_member(archive: Path) -> int:
    """Give the place of a byte of a member's content: what else is in a .mar may mean nothing."""
    if not zipfile.is_zipfile(archive):
        return archive.stat().st_size // 2
    with zipfile.ZipFile(archive) as zipped:
        largest = max(zipped.infolist(), key=lambda member: member.file_size)
    return largest.header_offset + 30 + len(largest.filename) + largest.file_size // 2


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "a/../../evil.py", "a\\..\\evil.py"])
def test_a_member_outside_is_refused(tmp_path: Path, name: str) -> None:
    path = write_archive(tmp_path, "m")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"")
    with pytest.raises(ArtifactError, match="is outside the archive"):
        require_intact(path)


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path, "m")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("m_handler.py", b"")
    with pytest.raises(ArtifactError, match=r"m_handler\.py is in it twice"):
        require_intact(path)


def test_no_manifest(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "m.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("m/handler.py"), io.BytesIO())
    with pytest.raises(ArtifactError, match=r"MANIFEST\.json is missing"):
        require_intact(tmp_path / "m.tar.gz")
    with pytest.raises(ArtifactError, match=r"none\.mar: can't be read \(No such file"):
        require_intact(tmp_path / "none.mar")
