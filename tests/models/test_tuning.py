"""A search for settings: what it tries, how it goes on, and that the test part is not looked at."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.models.test_experiment import config
from tests.tiny import tiny_tables
from torchtowers.models import retrieval_kind
from torchtowers.models.config import RunConfig, load_config, parse_config
from torchtowers.models.errors import ConfigError, RunError
from torchtowers.models.tuning import tune

pytest.importorskip("optuna")

SPACE = {"model.dim": [4, 8], "model.dropout": {"low": 0.0, "high": 0.5}}


def searched(space: dict[str, Any] | None = None, **training: Any) -> RunConfig:
    content = config("two_tower", training=training).model_dump(mode="json")
    return parse_config({**content, "tuning": {"space": SPACE if space is None else space}})


def test_it_keeps_the_best_of_its_trials(tmp_path: Path) -> None:
    told: list[str] = []
    found = tune(searched(), tmp_path, trials=5, tables=tiny_tables(), log=told.append)
    assert [trial.number for trial in found.trials] == list(range(5))
    assert found.trials[0].settings == {}
    assert all(set(trial.settings) == set(SPACE) for trial in found.trials[1:])
    done = [trial for trial in found.trials if trial.state == "complete"]
    best = max(done, key=lambda trial: trial.value or 0.0)
    saved = load_config(tmp_path / "best.yaml")
    assert saved == found.config
    for key, value in best.settings.items():
        assert getattr(saved.model, key.removeprefix("model.")) == value
    content = json.loads((tmp_path / "trials.json").read_text())
    assert [trial["value"] for trial in content["trials"]] == [trial.value for trial in found.trials]
    page = (tmp_path / "report.html").read_text()
    assert "model.dropout" in page
    assert "src=" not in page
    assert sum(line.startswith("trial ") for line in told) == 5
    assert not any((tmp_path / "trials").iterdir())


def test_a_trial_is_not_trained_anew_and_the_best_configuration_is(tmp_path: Path) -> None:
    found = tune(
        searched(epochs=2, early_stopping={"patience": 1}, refit=True),
        tmp_path,
        trials=2,
        tables=tiny_tables(),
    )
    assert [trial.state for trial in found.trials] == ["complete", "complete"]
    assert load_config(tmp_path / "best.yaml").training.refit


def test_a_search_that_goes_on_is_the_same_as_one_at_once(tmp_path: Path) -> None:
    whole = tune(searched(), tmp_path / "whole", trials=4, tables=tiny_tables())
    tune(searched(), tmp_path / "parts", trials=2, tables=tiny_tables())
    parts = tune(searched(), tmp_path / "parts", trials=4, tables=tiny_tables())
    assert [vars(trial) for trial in parts.trials] == [vars(trial) for trial in whole.trials]


def test_a_trial_that_was_cut_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(BaseException):
        pass

    def cut(*arguments: Any) -> dict[str, float]:
        raise Cut

    whole = tune(searched(), tmp_path / "whole", trials=3, tables=tiny_tables())
    tune(searched(), tmp_path / "cut", trials=1, tables=tiny_tables())
    with monkeypatch.context() as patched:
        patched.setattr(retrieval_kind.TwoTowerKind, "measure", cut)
        with pytest.raises(Cut):
            tune(searched(), tmp_path / "cut", trials=3, tables=tiny_tables())
    # What a process that was killed leaves.
    (tmp_path / "cut" / "trials" / "1").mkdir(parents=True)
    found = tune(searched(), tmp_path / "cut", trials=3, tables=tiny_tables())
    assert [trial.settings for trial in found.trials] == [trial.settings for trial in whole.trials]
    assert [trial.value for trial in found.trials] == [trial.value for trial in whole.trials]
    assert not any((tmp_path / "cut" / "trials").iterdir())


def test_the_test_part_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    measure = retrieval_kind.TwoTowerKind.measure

    def recorded(self: Any, *arguments: Any) -> dict[str, float]:
        measured.append(arguments[-1])
        return measure(self, *arguments)

    monkeypatch.setattr(retrieval_kind.TwoTowerKind, "measure", recorded)
    tune(searched(), tmp_path, trials=2, tables=tiny_tables())
    assert set(measured) == {"validation"}


def test_a_loss_that_is_not_finite_fails_a_trial_and_not_the_search(tmp_path: Path) -> None:
    settings = searched({"training.dense_learning_rate": [1e30]}).model_dump(mode="json")
    settings["model"] |= {"normalize": False, "query_hidden": [8]}
    found = tune(parse_config(settings), tmp_path, trials=2, tables=tiny_tables())
    assert [trial.state for trial in found.trials] == ["complete", "failed"]
    assert "the loss became" in str(found.trials[1].error)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"split.seed": [1, 2]}, "split.seed can't be tuned; keys begin with model or training"),
        ({"model.dims": [1, 2]}, "model.dims: unknown key, got 1; allowed here: .*; did you mean dim"),
        ({"model.dropout": [0.5, 1.5]}, "model.dropout: got 1.5, allowed: less than 1"),
        ({"model.dropout": {"low": 0.5, "high": 2}}, "model.dropout: got 2"),
    ],
)
def test_a_key_or_a_value_that_does_not_fit_is_refused_before_anything_runs(
    space: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        tune(searched(space), tmp_path / "out", trials=1, tables=tiny_tables())
    assert not (tmp_path / "out").exists()


def test_without_a_validation_part_there_is_nothing_to_choose_by(tmp_path: Path) -> None:
    content = searched().model_dump(mode="json")
    content["split"]["validation_fraction"] = 0.0
    with pytest.raises(ConfigError, match=r"set split\.validation_fraction above 0"):
        tune(parse_config(content), tmp_path, trials=1, tables=tiny_tables())


def test_another_configuration_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    tune(searched(), tmp_path, trials=1, tables=tiny_tables())
    with pytest.raises(RunError, match="holds a search of another configuration"):
        tune(searched(epochs=3), tmp_path, trials=1, tables=tiny_tables())


@pytest.mark.parametrize("model", ["two_tower", "sequential", "multi_task", "rating"])
def test_every_kind_has_a_space_of_its_own(model: str, tmp_path: Path) -> None:
    found = tune(config(model), tmp_path, trials=2, tables=tiny_tables())
    assert found.trials[1].settings
