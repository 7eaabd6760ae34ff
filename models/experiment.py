"""From a configuration to a finished run, and from a run back to its data and model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from torchtowers.data.dataset import Dataset, prepare
from torchtowers.data.fitted import Fitted
from torchtowers.data.named import load_tables
from torchtowers.data.section import Section
from torchtowers.data.tables import Tables
from torchtowers.models.config import RunConfig
from torchtowers.models.errors import ConfigError, RunError
from torchtowers.models.kinds import kind_of
from torchtowers.models.phases import Phases, build_model
from torchtowers.models.report import render_report
from torchtowers.models.retrieval_model import RetrievalModel, as_retrieval_model
from torchtowers.models.run import Run
from torchtowers.models.versions import installed_versions

__all__ = ["Trained", "build_model", "evaluate_run", "open_run", "prepare_run", "train"]

Log = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """A run with the data and the model that belong to it.

    Args:
        run: The directory.
        config: Its configuration.
        dataset: The data, encoded with the run's encoders; its training part is what the model was
            trained on.
        model: The model, in evaluation mode.
        interrupted: Whether training was stopped before its end.
    """

    run: Run
    config: RunConfig
    dataset: Dataset
    model: nn.Module
    interrupted: bool = False

    @property
    def towers(self) -> RetrievalModel:
        """The model, where it is one of two towers.

        Raises:
            TypeError: It is a ranking model.
        """
        return as_retrieval_model(self.model)


def train(
    config: RunConfig,
    out: str | Path,
    *,
    tables: Tables | None = None,
    resume: bool = False,
    overwrite: bool = False,
    log: Log = lambda _: None,
    show_progress: bool = False,
) -> Trained:
    """Train a model and evaluate it; see `training.fit` for what an interruption leaves.

    With `training.refit` the number of epochs is chosen first, on the validation part, in the run's folder
    `selection`; then a new model is trained on training and validation part together for as many.

    Args:
        config: What to train on and how.
        out: The run directory.
        tables: The data, in place of the files or the data set that the configuration names.
        resume: Go on from the checkpoint of a run with the same configuration.
        overwrite: Begin anew where there is a run already.
        log: Told what is done, a line each.
        show_progress: Whether to draw progress bars on standard error.

    Raises:
        RunError: There is a run already and neither `resume` nor `overwrite` is set, or there is nothing to
            resume, or the run to resume has another configuration.
        ConfigError: Early stopping looks at the validation part, and there is none, or the data has not what
            the model needs.
        DataError: The data can't be read or does not fit the configuration.
    """
    run = Run(out)
    _check_place(run, resume=resume, overwrite=overwrite)
    if resume:
        # Before its encoders are taken for features that they may not be of.
        _check_same(run, run.config().features, config.features)
    config, dataset = prepare_run(config, tables, log, run.fitted() if resume else None)
    if resume:
        _check_same(run, run.config(), config)
    else:
        # Which refuses data that there is nothing to learn from in, before a run is begun.
        kind_of(config).batches(config, dataset)
        run.begin(config, dataset.fitted)
    phases = Phases(config, run, log=log, show_progress=show_progress)
    if config.training.refit:
        model, interrupted = phases.select(dataset)
        if interrupted:
            return Trained(run, config, dataset, model, interrupted=True)
        dataset = dataset.merged()
    model, interrupted = phases.train(dataset, resume=resume and run.checkpoint_path.exists())
    trained = Trained(run, config, dataset, model, interrupted)
    if not interrupted:
        log("evaluating")
        _evaluate(trained)
    return trained


def prepare_run(
    config: RunConfig,
    tables: Tables | None = None,
    log: Log = lambda _: None,
    fitted: Fitted | None = None,
) -> tuple[RunConfig, Dataset]:
    """Read and encode the data, and fill in what the configuration leaves open; see `train`."""
    dataset = _dataset(config, tables, log, fitted)
    return _resolve(config, dataset), dataset


def evaluate_run(folder: str | Path, *, log: Log = lambda _: None) -> dict[str, Any]:
    """Evaluate a run again, write its metrics.json and report.html, and give the metrics.

    Raises:
        RunError: It is no run, or holds no model.
    """
    return _evaluate(open_run(folder, log=log))


def open_run(folder: str | Path, *, tables: Tables | None = None, log: Log = lambda _: None) -> Trained:
    """Read a run's configuration, data and model.

    Args:
        folder: The run directory.
        tables: The data, where the run was trained on tables that were given.
        log: Told what is done, a line each.

    Raises:
        RunError: It is no run, holds no model, or its model does not fit its configuration.
    """
    run = Run(folder)
    config = run.config()
    dataset = _dataset(config, tables, log, run.fitted())
    model = build_model(config, dataset)
    run.load_model(model)
    if config.training.refit and not run.selection.is_unfinished:
        dataset = dataset.merged()
    return Trained(run, config, dataset, model.eval(), interrupted=not run.is_finished)


def _check_place(run: Run, *, resume: bool, overwrite: bool) -> None:
    if resume:
        run.config()
        if run.is_finished:
            raise RunError(f"{run.folder} is finished: there is nothing to resume; see torchtowers evaluate")
    elif run.exists and not overwrite:
        raise RunError(
            f"{run.folder} holds a run already: replace it with --overwrite, choose another --out"
            + (", or go on with --resume" if run.is_unfinished else "")
        )


def _check_same(run: Run, begun: Section, now: Section) -> None:
    if begun != now:
        raise RunError(
            f"{run.folder} was begun with another configuration: resume it with its own, "
            f"{run.folder}/config.yaml, or train into another directory"
        )


def _resolve(config: RunConfig, dataset: Dataset) -> RunConfig:
    """Fill in what the configuration leaves open, and see that the data has what it asks for."""
    kind = kind_of(config)
    config = kind.resolve(config, dataset)
    stopping = config.training.early_stopping
    if stopping is not None and stopping.metric is None:
        metric, mode = kind.metric(config)
        stopping = stopping.model_copy(update={"metric": metric, "mode": mode})
        training = config.training.model_copy(update={"early_stopping": stopping})
        config = config.model_copy(update={"training": training})
    if (
        stopping is not None
        and str(stopping.metric).startswith("validation/")
        and not len(dataset.validation)
    ):
        raise ConfigError(
            f"training.early_stopping.metric: got {stopping.metric}, and there is no validation part: "
            "set split.validation_fraction above 0"
        )
    return config


def _dataset(config: RunConfig, tables: Tables | None, log: Log, fitted: Fitted | None) -> Dataset:
    tables = load_tables(config.data, config.split, log) if tables is None else tables
    dataset = prepare(tables, config.data, config.split, config.features, fitted)
    log(
        f"{len(dataset.train):,} interactions to train on, "
        f"{len(dataset.validation):,} to validate, {len(dataset.test):,} to test; "
        f"{len(dataset.users):,} users, {len(dataset.items):,} items"
    )
    for reason, count in dataset.dropped.items():
        if count:
            log(f"dropped: {count:,} {reason}")
    for warning in dataset.warnings:
        log(f"warning: {warning}")
    return dataset


def _evaluate(trained: Trained) -> dict[str, Any]:
    config, dataset, kind = trained.config, trained.dataset, kind_of(trained.config)
    metrics, content = kind.examine(config, dataset, trained.model)
    if config.training.refit:
        metrics["validation"] = trained.run.selection.metrics()["validation"]
    elif len(dataset.validation):
        metrics["validation"] = kind.measure(config, dataset, trained.model, "validation")
    metrics["baselines"] = kind.baselines(config, dataset)
    metrics["data"] = {
        "users": len(dataset.users),
        "items": len(dataset.items),
        "train": len(dataset.train),
        "validation": len(dataset.validation),
        "test": len(dataset.test),
    }
    metrics["dropped"] = dict(dataset.dropped)
    metrics["warnings"] = list(dataset.warnings)
    metrics["versions"] = installed_versions("numpy", "torch", "torchtowers")
    trained.run.save_metrics(metrics)
    trained.run.save_report(render_report(trained.run, config, metrics, content))
    return metrics
