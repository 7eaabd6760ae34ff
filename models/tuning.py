"""A search for settings on the validation part, resumable; the test part is not looked at."""

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torchtowers.data.dataset import Dataset
from torchtowers.data.tables import Tables
from torchtowers.models.callbacks import Callback
from torchtowers.models.config import RunConfig
from torchtowers.models.errors import ConfigError, RunError, TrainingError
from torchtowers.models.experiment import prepare_run
from torchtowers.models.kinds import kind_of
from torchtowers.models.phases import Phases
from torchtowers.models.run import Run
from torchtowers.models.training_config import EarlyStoppingConfig
from torchtowers.models.tuning_config import Range, Setting
from torchtowers.models.tuning_space import space_of, with_settings

__all__ = ["Trial", "Tuned", "tune"]

_STUDY = "torchtowers"
_STORAGE = "trials.log"
_PLAN = "config.yaml"
_AS_GIVEN = "as_given"


@dataclass(frozen=True)
class Trial:
    """One set of values and how it did.

    Args:
        number: From 0 on.
        state: `complete`; `pruned`: it was behind the others and was ended; `failed`: its loss was not
            finite.
        value: The best epoch's figure; None where there is none.
        settings: By dotted key.
        error: Why it failed.
    """

    number: int
    state: Literal["complete", "pruned", "failed"]
    value: float | None
    settings: Mapping[str, Any]
    error: str | None = None


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Args:
        config: The complete configuration with the best values.
        metric: The figure that was compared.
        trials: All that came to an end.
        interrupted: Whether it was stopped before its end.
    """

    config: RunConfig
    metric: str
    trials: tuple[Trial, ...]
    interrupted: bool = False


def tune(
    config: RunConfig,
    folder: str | Path,
    *,
    trials: int = 30,
    timeout: float | None = None,
    tables: Tables | None = None,
    log: Callable[[str], None] = lambda _: None,
    show_progress: bool = False,
) -> Tuned:
    """Try settings and keep the best: `best.yaml`, `trials.json` and `report.html` in the folder.

    Each trial trains on the training part, ends by early stopping, and counts by its best epoch's figure of
    the validation part. One that is behind the median of the others is ended early. The same call goes on
    where an earlier one stopped; a trial that was cut is done again. The first trial is the configuration as
    it is.

    Args:
        config: What is tuned; `tuning.space` says which settings.
        folder: Where the search is kept.
        trials: How many there are to be, earlier ones of this folder counted.
        timeout: Seconds after which no new trial begins.
        tables: The data, in place of what the configuration names.
        log: Told of each trial.
        show_progress: Whether to draw progress bars.

    Raises:
        ConfigError: There is no validation part, or a key of the space can't be tuned.
        RunError: The folder holds another search, or no trial came to its end.
        DataError: The data can't be read.
    """
    config, dataset = prepare_run(config, tables, log)
    if not len(dataset.validation):
        raise ConfigError("tuning chooses by the validation part: set split.validation_fraction above 0")
    config = _with_early_stopping(config)
    space = space_of(config)
    search = _Search(config, dataset, Path(folder), space, log, show_progress)
    interrupted = search.run(trials, timeout)
    return search.finish(interrupted)


class _Search:
    """A study of optuna's and what is written of it."""

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        folder: Path,
        space: Mapping[str, Setting],
        log: Callable[[str], None],
        show_progress: bool,
    ) -> None:
        self.config, self.dataset, self.folder, self.space = config, dataset, folder, space
        self.log, self.show_progress = log, show_progress
        stopping = config.training.early_stopping
        assert stopping is not None
        self.metric, self.mode = str(stopping.metric), stopping.mode
        self._begin()
        self.study = self._open()

    def run(self, trials: int, timeout: float | None) -> bool:
        """Try until there are so many trials; whether it was interrupted."""
        started = time.monotonic()
        self._repeat_cut_trials()
        while len(self._ended()) < trials:
            if timeout is not None and time.monotonic() - started > timeout:
                self.log(f"no new trial after {timeout:g} s")
                return False
            if self._try():
                return True
        return False

    def finish(self, interrupted: bool) -> Tuned:
        """Write what was found."""
        trials = tuple(self._trial(trial) for trial in self._ended())
        done = [trial for trial in trials if trial.state == "complete"]
        if not done:
            reasons = "; ".join(sorted({trial.error for trial in trials if trial.error}))
            raise RunError(f"no trial came to its end{': ' + reasons if reasons else ''}")
        sign = 1 if self.mode == "max" else -1
        best = max(done, key=lambda trial: sign * (trial.value or 0.0))
        tuned = Tuned(with_settings(self.config, best.settings), self.metric, trials, interrupted)
        content = {"metric": self.metric, "mode": self.mode, "trials": [vars(trial) for trial in trials]}
        self._write("trials.json", json.dumps(content, indent=2) + "\n")
        # It draws by matplotlib, which comes with the extra, as optuna does.
        from torchtowers.models.tuning_report import render_tuning_report

        self._write("report.html", render_tuning_report(self.metric, self.mode, trials, best.number))
        self._write("best.yaml", tuned.config.to_yaml())
        return tuned

    def _begin(self) -> None:
        plan = self.folder / _PLAN
        text = self.config.to_yaml()
        if plan.exists() and plan.read_text(encoding="utf-8") != text:
            raise RunError(
                f"{self.folder} holds a search of another configuration: go on with its own, {plan}, or "
                "choose another --out"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(_PLAN, text)

    def _open(self) -> Any:
        optuna = _optuna()
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(self.folder / _STORAGE))
        )
        study = optuna.create_study(
            storage=storage,
            study_name=_STUDY,
            direction="maximize" if self.mode == "max" else "minimize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
        )
        if not study.trials:
            study.enqueue_trial({}, user_attrs={_AS_GIVEN: True})
        return study

    def _repeat_cut_trials(self) -> None:
        running = _optuna().trial.TrialState.RUNNING
        for trial in self.study.get_trials(deepcopy=False, states=(running,)):
            self.study.tell(trial.number, state=_optuna().trial.TrialState.FAIL)
            self.study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)
            shutil.rmtree(self.folder / "trials" / str(trial.number), ignore_errors=True)

    def _try(self) -> bool:
        """Do one trial; whether it was interrupted."""
        states = _optuna().trial.TrialState
        # Of the trial's own number, so that a search that goes on tries what an uninterrupted one would.
        seed = self.config.training.seed + len(self._ended())
        self.study.sampler = _optuna().samplers.TPESampler(seed=seed, n_startup_trials=8)
        trial = self.study.ask()
        settings = {} if trial.user_attrs.get(_AS_GIVEN) else self._suggest(trial)
        trial.set_user_attr("settings", json.dumps(settings))
        report = _Report(trial, self.metric, self.mode)
        run = Run(self.folder / "trials" / str(trial.number))
        phases = Phases(
            _without_refit(with_settings(self.config, settings)),
            run,
            show_progress=self.show_progress,
            callbacks=[report],
        )
        try:
            _, interrupted = phases.train(self.dataset, resume=False)
        except TrainingError as error:
            trial.set_user_attr("error", str(error))
            self.study.tell(trial, state=states.FAIL)
            self.log(f"trial {trial.number}: failed, {error}; {_told(settings)}")
            return False
        finally:
            shutil.rmtree(run.folder, ignore_errors=True)
        if not interrupted:
            told = "ended early" if report.is_pruned else self.metric
            self.study.tell(
                trial, None if report.is_pruned else report.best, states.PRUNED if report.is_pruned else None
            )
            self.log(f"trial {trial.number}: {told}, {report.best:.4f}; {_told(settings)}")
        return interrupted

    def _suggest(self, trial: Any) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        for key, setting in self.space.items():
            if not isinstance(setting, Range):
                settings[key] = setting[trial.suggest_categorical(key, list(range(len(setting))))]
            elif isinstance(setting.low, int) and isinstance(setting.high, int):
                settings[key] = trial.suggest_int(key, setting.low, setting.high, log=setting.log)
            else:
                settings[key] = trial.suggest_float(key, setting.low, setting.high, log=setting.log)
        return settings

    def _ended(self) -> list[Any]:
        """Give the trials that came to an end; one that was cut did not."""
        states = _optuna().trial.TrialState
        return [
            trial
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state in (states.COMPLETE, states.PRUNED) or "error" in trial.user_attrs
        ]

    def _trial(self, trial: Any) -> Trial:
        states = _optuna().trial.TrialState
        names = {states.COMPLETE: "complete", states.PRUNED: "pruned", states.FAIL: "failed"}
        reported = list(trial.intermediate_values.values())
        best = (max if self.mode == "max" else min)(reported, default=None)
        settings = json.loads(trial.user_attrs["settings"])
        state: Any = names[trial.state]
        return Trial(trial.number, state, best, settings, trial.user_attrs.get("error"))

    def _write(self, name: str, text: str) -> None:
        beside = self.folder / f".{name}.part"
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.folder / name)


class _Report(Callback):
    """Tells the study each epoch's figure, and ends a trial that is behind the others."""

    def __init__(self, trial: Any, metric: str, mode: str) -> None:
        self._trial, self._metric = trial, metric
        self._better = max if mode == "max" else min
        self.best = -math.inf if mode == "max" else math.inf
        self.is_pruned = False

    def after_epoch(self, epoch: int, figures: dict[str, float]) -> bool:
        if self._metric not in figures:
            raise ConfigError(
                f"training.early_stopping.metric: there is no {self._metric} among an epoch's figures: "
                f"{', '.join(figures)}"
            )
        value = figures[self._metric]
        self.best = self._better(self.best, value)
        # By the best so far: an epoch that is a little worse than the one before says nothing.
        self._trial.report(self.best, epoch)
        self.is_pruned = bool(self._trial.should_prune())
        return self.is_pruned


def _with_early_stopping(config: RunConfig) -> RunConfig:
    """Let a trial end by the validation part."""
    training = config.training
    if training.early_stopping is None:
        metric, mode = kind_of(config).metric(config)
        stopping = EarlyStoppingConfig(metric=metric, mode=mode)
        training = training.model_copy(update={"early_stopping": stopping})
    return config.model_copy(update={"training": training})


def _without_refit(config: RunConfig) -> RunConfig:
    """Let a trial be over where its best epoch is known."""
    training = config.training.model_copy(update={"refit": False})
    return config.model_copy(update={"training": training})


def _told(settings: Mapping[str, Any]) -> str:
    told = ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in settings.items()
    )
    return told or "the configuration as it is"


def _optuna() -> Any:
    try:
        import matplotlib  # noqa: F401 - missed now, not after the search
        import optuna
    except ImportError as error:
        raise ConfigError(
            f"tuning needs optuna and matplotlib ({error}): pip install 'torchtowers[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
