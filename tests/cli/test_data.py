"""torchtowers data describe as a person types it."""

import json
from pathlib import Path

import pytest

from torchtowers.cli.main import main
from torchtowers.data.synthetic import make_shop, write_shop
from torchtowers.models.config import load_config


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder, make_shop(1_000, users=80, items=60))
    return folder


def describe(shop: Path, *more: str) -> int:
    paths = [str(shop / "interactions.csv"), "--users", str(shop / "users.csv")]
    return main(["data", "describe", *paths, "--items", str(shop / "items.parquet"), *more])


def test_people_read_aligned_columns(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe(shop) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    header = next(line for line in lines if line.startswith("column"))
    row = next(line for line in lines if line.startswith("rating"))
    assert header.index("role") == row.index("label")
    assert "of all pairs of a user and an item have an interaction" in shown
    assert "from 2024-01-01" in shown


def test_machines_read_json(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe(shop, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tables"]["interactions"]["rows"] == 1_000
    assert found["per_user"]["count"] == 80


def test_a_configuration_is_written(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe(shop, "--write", str(tmp_path / "a" / "my.yaml")) == 0
    assert "torchtowers train" in capsys.readouterr().err
    assert (tmp_path / "a" / "my.yaml").exists()


def test_a_missing_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "describe", str(tmp_path / "none.csv")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert "there is no table" in shown.err


def test_roles_are_named_where_they_can_not_be_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"p{row % 7},q{row % 9},{row % 5},2024-03-{1 + row % 28:02}" for row in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["who,what,points,moment", *lines]))
    path, out = str(tmp_path / "t.csv"), str(tmp_path / "my.yaml")
    assert main(["data", "describe", path, "--write", out]) == 2
    assert "name them, with --user-id and --item-id" in capsys.readouterr().err
    names = ["--user-id", "who", "--item-id", "what", "--timestamp", "moment", "--rating", "points"]
    assert main(["data", "describe", path, *names, "--write", out]) == 0
    data = load_config(out).data
    assert (data.user, data.item, data.rating, data.timestamp) == ("who", "what", "points", "moment")
    capsys.readouterr()
    assert main(["data", "describe", path, "--item-id", "song"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("there is no column song for the item id; there is who, what, points, moment")
