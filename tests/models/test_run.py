import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_config
from torchtowers.data.fitted import Fitted
from torchtowers.models.errors import RunError
from torchtowers.models.experiment import Trained, build_model
from torchtowers.models.run import Run


def test_what_training_leaves(trained: Trained) -> None:
    names = {path.name for path in trained.run.folder.iterdir()}
    assert names == {"config.yaml", "model.safetensors", "encoders.json", "history.jsonl"}
    assert trained.run.config() == trained.config
    assert trained.run.fitted().users.tokens == trained.dataset.users.tokens
    assert trained.run.fitted().encoders.keys() == trained.dataset.encoders.keys()


def test_weights_go_through_the_file_unchanged(trained: Trained) -> None:
    model = build_model(trained.config, trained.dataset)
    trained.run.load_model(model)
    for name, tensor in trained.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_weights_of_another_model_are_refused(trained: Trained) -> None:
    model = build_model(tiny_config(model={"dim": 5}), trained.dataset)
    with pytest.raises(RunError, match=r"does not fit the run's config\.yaml") as caught:
        trained.run.load_model(model)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_named(trained: Trained, tmp_path: Path) -> None:
    run = Run(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(trained.run.model_path.read_bytes()[:-7])
    with pytest.raises(RunError, match=r"model\.safetensors does not fit"):
        run.load_model(trained.model)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(RunError, match="is damaged"):
        run.load_checkpoint()


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    run = Run(tmp_path / "nothing")
    for ask, said in (
        (run.config, "is not a run"),
        (run.metrics, r"holds no metrics\.json: save them first$"),
        (run.load_checkpoint, "has no checkpoint: train anew instead of resuming$"),
        (
            lambda: run.load_model(torch.nn.Linear(1, 1)),
            r"holds no model\.safetensors yet: fit a model there",
        ),
    ):
        with pytest.raises(RunError, match=said):
            ask()
    assert not run.folder.exists()


def test_a_run_of_train_is_told_its_commands(tmp_path: Path, trained: Trained) -> None:
    run = Run(tmp_path / "run")
    run.begin(trained.config, trained.dataset.fitted)
    for ask, said in (
        (run.metrics, "evaluate it with torchtowers evaluate"),
        (run.load_checkpoint, "has no checkpoint: train anew with --overwrite"),
        (lambda: run.load_model(trained.model), "train further with torchtowers train --resume"),
    ):
        with pytest.raises(RunError, match=said):
            ask()


def test_a_model_alone_is_a_finished_run(tmp_path: Path) -> None:
    run, model = Run(tmp_path / "made" / "run"), torch.nn.Linear(2, 1)
    run.save_model(model)
    assert run.is_finished
    assert not run.exists
    with pytest.raises(RunError, match="is finished: there is nothing to resume"):
        run.load_checkpoint()
    with pytest.raises(RunError, match=r"does not fit the model that was given: missing: .*bias"):
        run.load_model(torch.nn.Linear(2, 1, bias=False))
    run.save_checkpoint({"one": torch.ones(1)}, {"epoch": "1"})
    assert not run.is_finished
    assert run.load_checkpoint()[1] == {"epoch": "1"}
    run.drop_results()
    assert not run.model_path.exists()


def test_a_place_that_cannot_be_written(tmp_path: Path, trained: Trained) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="can't be written"):
        Run(tmp_path / "file" / "run").begin(trained.config, trained.dataset.fitted)
    for folder in ("file", "file/run"):
        with pytest.raises(RunError, match=r"model\.safetensors can't be written"):
            Run(tmp_path / folder).save_model(trained.model)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import torch
from torchtowers.data.fitted import Fitted
from torchtowers.models.errors import RunError
from torchtowers.models.run import Run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    Run(Path(sys.argv[1])).save_model(torch.nn.Linear(1000, 100))
except RunError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_earlier_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"earlier")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "model.safetensors can't be written" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert (tmp_path / "model.safetensors").read_bytes() == b"earlier"


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, trained: Trained) -> None:
    (tmp_path / "metrics.json").write_text("mine")
    with pytest.raises(RunError, match="is in the way and is no run"):
        Run(tmp_path).begin(trained.config, trained.dataset.fitted)
    assert (tmp_path / "metrics.json").read_text() == "mine"


def test_beginning_anew_replaces_a_run_wholly(tmp_path: Path, trained: Trained) -> None:
    run = Run(tmp_path / "run")
    run.begin(trained.config, trained.dataset.fitted)
    run.append_history({"epoch": 1})
    run.begin(tiny_config(model={"dim": 5}), Fitted(trained.dataset.users.ids, trained.dataset.items.ids, {}))
    assert run.config().model.model_dump()["dim"] == 5
    assert run.fitted().encoders == {}
    assert run.history() == []
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_damaged_history_or_metrics_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"epoch": 1}\n{"epo')
    (tmp_path / "metrics.json").write_text("[]")
    with pytest.raises(RunError, match=r"history\.jsonl is damaged"):
        Run(tmp_path).history()
    with pytest.raises(RunError, match=r"metrics\.json is damaged"):
        Run(tmp_path).metrics()


def test_files_have_the_rights_that_the_umask_leaves(trained: Trained) -> None:
    rights = {path.stat().st_mode & 0o777 for path in trained.run.folder.iterdir() if path.is_file()}
    assert len(rights) == 1
