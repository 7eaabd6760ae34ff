"""From a configuration to a finished run, and from a run back to its data and model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from torchtowers.data.batches import Batches
from torchtowers.data.dataset import Dataset, prepare
from torchtowers.data.named import load_tables
from torchtowers.handlers.encoders import Vocabulary
from torchtowers.models.callbacks import Callback
from torchtowers.models.config import RunConfig
from torchtowers.models.errors import ConfigError, RunError
from torchtowers.models.evaluation import evaluate, model_scorer, popularity_scorer
from torchtowers.models.report import render_report
from torchtowers.models.run import Run
from torchtowers.models.training import fit
from torchtowers.models.two_tower import TwoTower, build_two_tower
from torchtowers.models.versions import installed_versions

__all__ = ["Trained", "build_model", "evaluate_run", "open_run", "train"]

Log = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """A run with the data and the model that belong to it.

    Args:
        run: The directory.
        config: Its configuration.
        dataset: The data, encoded with the run's vocabularies.
        model: The model, in evaluation mode.
        interrupted: Whether training was stopped before its end.
    """

    run: Run
    config: RunConfig
    dataset: Dataset
    model: TwoTower
    interrupted: bool = False


def train(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    log: Log = lambda _: None,
    show_progress: bool = False,
) -> Trained:
    """Train a model and evaluate it; see `training.fit` for what an interruption leaves.

    Args:
        config: What to train on and how.
        out: The run directory.
        resume: Go on from the checkpoint of a run with the same configuration.
        overwrite: Begin anew where there is a run already.
        log: Told what is done, a line each.
        show_progress: Whether to draw progress bars on standard error.

    Raises:
        RunError: There is a run already and neither `resume` nor `overwrite` is set, or there is nothing to
            resume, or the run to resume has another configuration.
        ConfigError: Early stopping looks at the validation part, and there is none.
        DataError: The data can't be read or does not fit the configuration.
    """
    run = Run(out)
    _check_place(run, config, resume=resume, overwrite=overwrite)
    dataset = _dataset(config, log, run.vocabularies() if resume else None)
    _check_early_stopping(config, dataset)
    torch.manual_seed(config.training.seed)
    model = build_model(config, dataset)
    if not resume:
        run.begin(config, dataset.vocabularies)
    progress = fit(
        model,
        Batches(dataset, config.training.batch_size, config.training.seed),
        config.training,
        run,
        resume=resume,
        callbacks=[_Validation(config, dataset, model)] if len(dataset.validation) else [],
        log=log,
        show_progress=show_progress,
    )
    # Evaluation and what comes after it are the CPU's.
    trained = Trained(run, config, dataset, model.cpu(), progress.interrupted)
    if not progress.interrupted:
        log("evaluating over the whole catalogue")
        _evaluate(trained)
    return trained


def evaluate_run(folder: str | Path, *, log: Log = lambda _: None) -> dict[str, Any]:
    """Evaluate a run again, write its metrics.json and report.html, and give the metrics.

    Raises:
        RunError: It is no run, or holds no model.
    """
    return _evaluate(open_run(folder, log=log))


def open_run(folder: str | Path, *, log: Log = lambda _: None) -> Trained:
    """Read a run's configuration, data and model.

    Raises:
        RunError: It is no run, holds no model, or its model does not fit its configuration.
    """
    run = Run(folder)
    config = run.config()
    dataset = _dataset(config, log, run.vocabularies())
    model = build_model(config, dataset)
    run.load_model(model)
    return Trained(run, config, dataset, model.eval(), interrupted=not run.is_finished)


def build_model(config: RunConfig, dataset: Dataset) -> TwoTower:
    """Build the model that a configuration describes, with new weights."""
    settings = config.model.model_dump(exclude={"kind"})
    return build_two_tower(
        dataset.users.encoders,
        dataset.items.encoders,
        query_key=dataset.users.key,
        candidate_key=dataset.items.key,
        history=dataset.history,
        **settings,
    )


class _Validation(Callback):
    """Adds what is measured on the validation part to an epoch's figures."""

    def __init__(self, config: RunConfig, dataset: Dataset, model: TwoTower) -> None:
        self._config = config
        self._dataset = dataset
        self._model = model

    def after_epoch(self, epoch: int, figures: dict[str, float]) -> bool:
        measured = _measure(self._config, self._dataset, self._model.cpu(), "validation")
        self._model.to(self._config.training.device)
        figures |= {f"validation/{name}": value for name, value in measured.items()}
        return False


def _check_place(run: Run, config: RunConfig, *, resume: bool, overwrite: bool) -> None:
    if resume:
        if run.config() != config:
            raise RunError(
                f"{run.folder} was begun with another configuration: resume it with its own, "
                f"{run.folder}/config.yaml, or train into another directory"
            )
        if run.is_finished:
            raise RunError(f"{run.folder} is finished: there is nothing to resume; see torchtowers evaluate")
    elif run.exists and not overwrite:
        raise RunError(
            f"{run.folder} holds a run already: replace it with --overwrite, choose another --out"
            + (", or go on with --resume" if run.checkpoint_path.exists() else "")
        )


def _check_early_stopping(config: RunConfig, dataset: Dataset) -> None:
    stopping = config.training.early_stopping
    if stopping is not None and stopping.metric.startswith("validation/") and not len(dataset.validation):
        raise ConfigError(
            f"training.early_stopping.metric: got {stopping.metric}, and there is no validation part: "
            "set split.validation_fraction above 0"
        )


def _dataset(config: RunConfig, log: Log, vocabularies: Mapping[str, Vocabulary] | None) -> Dataset:
    tables = load_tables(config.data.dataset, log)
    dataset = prepare(tables, config.data, config.split, config.features, vocabularies)
    log(
        f"{config.data.dataset}: {len(dataset.train):,} interactions to train on, "
        f"{len(dataset.validation):,} to validate, {len(dataset.test):,} to test; "
        f"{len(dataset.users):,} users, {len(dataset.items):,} items"
    )
    return dataset


def _measure(config: RunConfig, dataset: Dataset, model: TwoTower, part: str) -> dict[str, float]:
    chosen = getattr(dataset, part)
    settings = config.evaluation.model_dump()
    return evaluate(model_scorer(model, dataset), chosen, dataset.train, **settings)


def _evaluate(trained: Trained) -> dict[str, Any]:
    config, dataset = trained.config, trained.dataset
    popularity = evaluate(
        popularity_scorer(dataset.train, len(dataset.items)),
        dataset.test,
        dataset.train,
        **config.evaluation.model_dump(),
    )
    metrics: dict[str, Any] = {"test": _measure(config, dataset, trained.model, "test")}
    if len(dataset.validation):
        metrics["validation"] = _measure(config, dataset, trained.model, "validation")
    metrics["baselines"] = {"popularity": popularity}
    metrics["data"] = {
        "users": len(dataset.users),
        "items": len(dataset.items),
        "train": len(dataset.train),
        "validation": len(dataset.validation),
        "test": len(dataset.test),
    }
    metrics["versions"] = installed_versions("numpy", "torch", "torchtowers")
    trained.run.save_metrics(metrics)
    trained.run.save_report(render_report(trained.run, config, metrics))
    return metrics
