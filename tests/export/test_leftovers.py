"""Parts of builds that were killed go; parts of builds that are alive, and what is no part, stay."""

from pathlib import Path

import pytest

from torchtowers.export.leftovers import clear_leftovers, held


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "m.mar"


def test_a_part_that_nobody_holds_goes(target: Path) -> None:
    part = target.with_name(".m.mar.abcd_123")
    part.write_bytes(b"half")
    folder = target.with_name(".m.mar.abcd_124")
    (folder / "new/torchtowers").mkdir(parents=True)
    with held(part) as is_held:
        assert is_held
        clear_leftovers(target)
        assert part.exists()
        assert not folder.exists()
    clear_leftovers(target)
    assert not part.exists()


@pytest.mark.parametrize(
    "name", [".m.mar.abcd", ".m.mar.sig.abcd1234", ".other.mar.abcd1234", "m.mar.abcd1234", ".m.mar.ABCD1234"]
)
def test_what_is_no_part_of_the_target_stays(target: Path, name: str) -> None:
    target.with_name(name).write_bytes(b"mine")
    clear_leftovers(target)
    assert target.with_name(name).exists()


def test_a_folder_that_is_no_part_stays(target: Path) -> None:
    folder = target.with_name(".m.mar.personal")
    (folder / "notes").mkdir(parents=True)
    clear_leftovers(target)
    assert folder.exists()


def test_an_earlier_folder_that_was_moved_aside_stays_until_there_is_a_new_one(tmp_path: Path) -> None:
    target, part = tmp_path / "m", tmp_path / ".m.abcd1234"
    (part / "earlier").mkdir(parents=True)
    clear_leftovers(target)
    assert part.exists()
    target.mkdir()
    clear_leftovers(target)
    assert not part.exists()


def test_without_locks_nothing_is_cleared(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    part = target.with_name(".m.mar.abcd1234")
    part.write_bytes(b"half")
    monkeypatch.setattr("fcntl.flock", refuse)
    with held(target.parent) as is_held:
        assert not is_held
        clear_leftovers(target)
    assert part.exists()
