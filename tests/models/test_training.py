"""Training: repeatable, resumable to the same weights, and safe to interrupt."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import SHOP, tiny_config, tiny_tables, tiny_trained
from torchtowers.data.batches import Batches
from torchtowers.data.dataset import prepare
from torchtowers.data.synthetic import make_shop, write_shop
from torchtowers.models.baseline_popularity import popularity_scorer
from torchtowers.models.checkpoint import Progress
from torchtowers.models.errors import RunError, TrainingError
from torchtowers.models.evaluation import evaluate, model_scorer
from torchtowers.models.experiment import Trained, build_model
from torchtowers.models.retrieval_model import as_retrieval_model
from torchtowers.models.run import Run
from torchtowers.models.training import fit


def fit_until(folder: Path, stop: Callable[[Progress], bool] | None, *, resume: bool = False) -> Trained:
    """Train like `tiny_trained`, interrupted by a real SIGINT to this process as soon as `stop` says so."""
    config = tiny_config()
    run = Run(folder)
    dataset = prepare(
        tiny_tables(), config.data, config.split, config.features, run.fitted() if resume else None
    )
    torch.manual_seed(99 if resume else config.training.seed)
    model = as_retrieval_model(build_model(config, dataset))
    if not resume:
        run.begin(config, dataset.fitted)
    compute_loss = model.compute_loss
    place = Progress()

    def watched(batch: object) -> torch.Tensor:
        if stop is not None and stop(place):
            os.kill(os.getpid(), signal.SIGINT)
        place.step += 1
        return compute_loss(batch)  # type: ignore[arg-type]

    model.compute_loss = watched  # type: ignore[method-assign]
    batches = Batches(dataset, config.training.batch_size, config.training.seed)
    progress = fit(model, batches, config.training, run, resume=resume, show_progress=False)
    return Trained(run, config, dataset, model, progress.interrupted)


def weights(trained: Trained) -> bytes:
    return trained.run.model_path.read_bytes()


def test_two_runs_with_one_seed_are_equal_and_another_seed_is_not(trained: Trained, tmp_path: Path) -> None:
    assert weights(tiny_trained(tmp_path / "again")) == weights(trained)
    other = tiny_trained(tmp_path / "other", tiny_config(training={"seed": 8}))
    assert weights(other) != weights(trained)


@pytest.mark.parametrize("step", [0, 1, 3, 4, 10])
def test_an_interrupted_run_is_usable_and_resumes_to_the_same_weights(
    trained: Trained, tmp_path: Path, step: int
) -> None:
    stopped = fit_until(tmp_path / "run", lambda place: place.step == step)
    assert stopped.interrupted
    assert stopped.run.checkpoint_path.exists()
    assert not stopped.run.is_finished
    fresh = as_retrieval_model(build_model(stopped.config, stopped.dataset))
    stopped.run.load_model(fresh)
    figures = evaluate(model_scorer(fresh, stopped.dataset), stopped.dataset.test, stopped.dataset.train)
    assert 0 <= figures["top_10_accuracy"] <= 1
    resumed = fit_until(tmp_path / "run", None, resume=True)
    assert not resumed.interrupted
    assert weights(resumed) == weights(trained)
    assert not resumed.run.checkpoint_path.exists()
    losses = [entry["loss"] for entry in resumed.run.history()]
    assert losses == pytest.approx([entry["loss"] for entry in trained.run.history()])


def test_a_line_of_history_without_its_checkpoint_is_cut_off_at_resume(tmp_path: Path) -> None:
    stopped = fit_until(tmp_path / "run", lambda place: place.step == 5)
    # As a process leaves it that is killed after the line and before the checkpoint.
    stopped.run.append_history({"epoch": 2, "loss": 0.0})
    resumed = fit_until(tmp_path / "run", None, resume=True)
    assert [entry["epoch"] for entry in resumed.run.history()] == [1, 2, 3]
    assert resumed.run.history()[1]["loss"] != 0.0


def test_a_run_that_is_killed_in_its_first_epoch_can_be_resumed(trained: Trained, tmp_path: Path) -> None:
    class Killed(BaseException):
        """As sudden as a kill: nothing is saved on its way."""

    def kill(place: Progress) -> bool:
        if place.step == 2:
            raise Killed
        return False

    with pytest.raises(Killed):
        fit_until(tmp_path / "run", kill)
    resumed = fit_until(tmp_path / "run", None, resume=True)
    assert weights(resumed) == weights(trained)


def test_a_finished_run_has_nothing_to_resume(trained: Trained) -> None:
    with pytest.raises(RunError, match="is finished: there is nothing to resume"):
        trained.run.load_checkpoint()


def test_a_loss_that_is_not_finite_ends_training_and_says_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"the loss became (nan|inf) in epoch \d.*: lower the learning rates"
    ):
        tiny_trained(
            tmp_path / "run",
            tiny_config(
                training={"dense_learning_rate": 1e30, "embedding_learning_rate": 1e30},
                model={"normalize": False},
            ),
        )


def test_the_model_learns_what_popularity_does_not_know(tmp_path: Path) -> None:
    trained = tiny_trained(tmp_path / "run", tiny_config(training={"epochs": 15}))
    dataset = trained.dataset
    ours = evaluate(model_scorer(trained.towers, dataset), dataset.test, dataset.train, accuracy_at=(10,))
    floor = evaluate(
        popularity_scorer(dataset.train, len(dataset.items)), dataset.test, dataset.train, accuracy_at=(10,)
    )
    assert ours["top_10_accuracy"] > floor["top_10_accuracy"] + 0.05


def test_the_target_is_left_out_of_its_own_history(trained: Trained) -> None:
    dataset = trained.dataset
    for batch in Batches(dataset, 64, seed=0).epoch(0):
        history = batch.query["history"]
        assert not (history == batch.items[:, None] + 2).any()
    user = dataset.train.users[0]
    full = dataset.users.take(np.array([user]))["history"]
    assert (full == dataset.train.items[dataset.train.users == user][:, None] + 2).any()


def test_ctrl_c_in_the_command_line_leaves_a_run_that_resumes(tmp_path: Path) -> None:
    """The real program, real files and a real SIGINT."""
    write_shop(tmp_path, make_shop(rows=2000, users=100, items=100))
    (tmp_path / "shop.yaml").write_text(SHOP + "training: {threads: 1, batch_size: 16}\n")
    out, epochs = tmp_path / "run", 40
    command = [sys.executable, "-m", "torchtowers.cli.main", "train", str(tmp_path / "shop.yaml")]
    command += ["--out", str(out), f"training.epochs={epochs}"]
    lines = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if line.startswith(f"epoch 1/{epochs}"):
                process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, "".join(lines)
    assert "--resume" in lines[-1]
    assert "Traceback" not in "".join(lines)
    assert (out / "model.safetensors").exists()
    ended = subprocess.run([*command, "--resume", "--json"], capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr
    assert re.search(rf"epoch {epochs}/{epochs}: loss", ended.stderr)
    assert f"epoch 1/{epochs}:" not in ended.stderr
    assert (out / "report.html").exists()
