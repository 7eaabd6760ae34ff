import json
from pathlib import Path

import polars as pl
import pytest

from tests.tiny import ITEMS, tiny_config, tiny_tables
from torchtowers.cli.main import main
from torchtowers.data.errors import DataError
from torchtowers.models.experiment import train
from torchtowers.models.later_evaluation import evaluate_on
from torchtowers.models.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was trained from files."""
    folder = tmp_path_factory.mktemp("later")
    tables = tiny_tables()
    paths = {name: folder / f"{name}.parquet" for name in ("interactions", "users", "items")}
    for name, path in paths.items():
        getattr(tables, name).write_parquet(path)
    data = {name: str(path) for name, path in paths.items()}
    config = tiny_config(
        data={"dataset": None, "rating": "rating", "timestamp": "timestamp", **data}, training={"epochs": 1}
    )
    return train(config, folder / "run").run


def later(folder: Path, rows: int) -> Path:
    """Write interactions of a known and a new user, with known items and one that is not."""
    path = folder / "later.csv"
    pl.DataFrame(
        {
            "user_id": ["u1", "someone"] * rows,
            "item_id": ["gone", *(str(100 + row % ITEMS) for row in range(2 * rows - 1))],
            "rating": [3.0, 4.0] * rows,
            "timestamp": [1_700_000_000, 1_700_000_001] * rows,
            "age": [None, 33] * rows,
        }
    ).write_csv(path)
    return path


def test_a_run_is_measured_on_later_interactions(run: Run, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    said: list[str] = []
    figures = evaluate_on(run.folder, later(tmp_path, 10), log=said.append)
    assert figures["data"] == {"interactions": 19, "users": 2, "new_users": 1}
    assert figures["dropped"] == {"interactions whose item_id is not in its table": 1}
    assert "19 interactions of 2 users to test on, 1 of them new" in said
    assert "left out: 1 interactions whose item_id is not in its table" in said
    for measured in (figures["test"], *figures["baselines"].values()):
        assert measured.keys() == run.metrics()["test"].keys()
    assert {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()} == before


def test_the_command_prints_it(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(later(tmp_path, 3))
    assert main(["evaluate", str(run.folder), "--on", path, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["data"]["new_users"] == 1
    assert main(["evaluate", str(run.folder), "--on", path]) == 0
    out, err = capsys.readouterr()
    header, *rows = out.splitlines()
    assert header.split() == ["test", "model", "popularity", "item_knn", "ease", "matrix_factorization"]
    shown = {row.split()[0]: float(row.split()[1]) for row in rows}
    assert shown["ndcg@10"] == pytest.approx(printed["test"]["ndcg@10"], abs=1e-4)
    assert "left out: 1 interactions" in err


def test_a_file_of_other_columns_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("user,item_id\nu1,105\n")
    with pytest.raises(DataError, match="there is no column user_id"):
        evaluate_on(run.folder, path, log=lambda _: None)
