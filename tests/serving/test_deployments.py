import json
from pathlib import Path

import pytest

from torchtowers.serving.deployments import Deployed, Deployments
from torchtowers.serving.errors import ServingError
from torchtowers.serving.journal import Journal, end_journal, read_journal, write_journal
from torchtowers.serving.recovery import forget_unfinished
from torchtowers.serving.state import StateFolder

FIRST = Deployed("1.0", "m.mar")
SECOND = Deployed("2.0", "m-2.0.mar", "2026-01-01T00:00:00+00:00")


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    (tmp_path / "state").mkdir()
    return StateFolder(tmp_path / "state")


def test_what_was_committed_is_known_to_whoever_comes_next(folder: StateFolder, store: Path) -> None:
    Deployments(folder, store).commit("m", (FIRST, SECOND))
    known = Deployments(folder, store)
    assert known.history("m") == (FIRST, SECOND)
    assert set(known.defaults) == {"m-2.0.mar"}
    assert set(known.retired) == {"m.mar"}
    assert known.history("other") == ()


def test_a_version_that_comes_back_is_retired_no_more(folder: StateFolder, store: Path) -> None:
    Deployments(folder, store).commit("m", (FIRST, SECOND))
    Deployments(folder, store).commit("m", (FIRST,))
    known = Deployments(folder, store)
    assert set(known.defaults) == {"m.mar"}
    assert set(known.retired) == {"m-2.0.mar"}


def test_another_model_store_knows_nothing_of_it(folder: StateFolder, store: Path, tmp_path: Path) -> None:
    Deployments(folder, store).commit("m", (FIRST, SECOND))
    assert Deployments(folder, tmp_path).history("m") == ()


@pytest.mark.parametrize(
    "text", ['{"models": {}}', "[]", '{"store": "STORE", "models": {"m": {"history": 1}}}']
)
def test_a_record_of_another_kind_is_named(folder: StateFolder, store: Path, text: str) -> None:
    (folder.path / "deployments.json").write_text(text.replace("STORE", str(store)))
    with pytest.raises(ServingError, match=r"deployments\.json: not what this version writes"):
        Deployments(folder, store)


def journal(store: Path) -> Journal:
    return Journal(SECOND.time, str(store), "m", "2.0", "m-2.0.mar", True, False, "1.0")


def test_a_journal_is_there_until_it_ends(folder: StateFolder, store: Path) -> None:
    assert read_journal(folder) is None
    write_journal(folder, journal(store))
    assert read_journal(folder) == journal(store)
    end_journal(folder)
    assert read_journal(folder) is None
    (folder.path / "rollout.json").write_text(json.dumps({"name": "of another version"}))
    assert read_journal(folder) is None


@pytest.mark.parametrize("committed", [True, False])
def test_before_a_start_what_was_not_committed_goes(
    folder: StateFolder, store: Path, committed: bool
) -> None:
    (store / "m-2.0.mar").write_text("")
    write_journal(folder, journal(store))
    if committed:
        Deployments(folder, store).commit("m", (FIRST, SECOND))
    forget_unfinished(folder)
    assert (store / "m-2.0.mar").exists() == committed
    assert read_journal(folder) is None
    forget_unfinished(folder)
