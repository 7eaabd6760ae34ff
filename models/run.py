"""A run directory: what training leaves, written so that it is whole at every moment."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from torchtowers.data.errors import shorten
from torchtowers.data.fitted import Fitted
from torchtowers.data.folders import is_empty_folder, replaced_folder
from torchtowers.models.config import RunConfig, load_config
from torchtowers.models.errors import RunError
from torchtowers.models.training_config import EarlyStoppingConfig
from torchtowers.models.weights import load_weights, weights_of

__all__ = ["Run"]

_CONFIG = "config.yaml"
_ENCODERS = "encoders.json"
_MODEL = "model.safetensors"
_CHECKPOINT = "checkpoint.safetensors"
_METRICS = "metrics.json"
_HISTORY = "history.jsonl"
_SELECTION = "selection"


class Run:
    """The files of one run.

    `model.safetensors` and `history.jsonl`; while training is not finished also `checkpoint.safetensors`,
    from which it is resumed. A run of `train` has `config.yaml`, `encoders.json`, `metrics.json` and
    `report.html` besides.

    Args:
        folder: The run directory; made when the first file is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def exists(self) -> bool:
        """Whether `train` has begun here, so that there is a configuration."""
        return (self.folder / _CONFIG).exists()

    @property
    def is_finished(self) -> bool:
        """Whether training has ended here."""
        return self.model_path.exists() and not self.is_unfinished

    @property
    def is_unfinished(self) -> bool:
        """Whether there is a training to go on with, this run's or its selection's."""
        return self.checkpoint_path.exists() or self.selection.checkpoint_path.exists()

    @property
    def selection(self) -> "Run":
        """The training on a part of the data that chose the number of epochs, if there was one."""
        return Run(self.folder / _SELECTION)

    @property
    def model_path(self) -> Path:
        """The weights."""
        return self.folder / _MODEL

    @property
    def checkpoint_path(self) -> Path:
        """What an unfinished training goes on from."""
        return self.folder / _CHECKPOINT

    def begin(self, config: RunConfig, fitted: Fitted) -> None:
        """Make the directory, with the configuration and the encoders; an earlier run there is replaced.

        Raises:
            RunError: Something that is no run is in the way, or it can't be made.
        """
        if self.folder.exists() and not self.exists and not is_empty_folder(self.folder):
            raise RunError(f"{self.folder} is in the way and is no run: choose another --out or remove it")
        try:
            with replaced_folder(self.folder) as part:
                fitted.save(part / _ENCODERS)
                (part / _CONFIG).write_text(config.to_yaml(), encoding="utf-8")
        except OSError as error:
            raise RunError(f"{self.folder} can't be written: {error.strerror or error}") from error

    def config(self) -> RunConfig:
        """Read the configuration.

        Raises:
            RunError: There is none.
        """
        if not self.exists:
            raise RunError(
                f"{self.folder} holds no {_CONFIG}: it is not a run of torchtowers train; make one with that"
            )
        return load_config(self.folder / _CONFIG)

    def fitted(self) -> Fitted:
        """Read what turns raw values into the model's inputs, as it was fitted when training began.

        Raises:
            DataError: It is missing or damaged.
        """
        return Fitted.load(self.folder / _ENCODERS)

    def save_model(self, model: nn.Module) -> None:
        """Write the weights."""
        self._write_tensors(_MODEL, weights_of(model), {})

    def load_model(self, model: nn.Module) -> None:
        """Read the weights into a model of the same configuration.

        Raises:
            RunError: They are missing, damaged, or of another model.
        """
        if not self.model_path.exists():
            how = (
                "train further with torchtowers train --resume" if self.exists else "fit a model there first"
            )
            raise RunError(f"{self.folder} holds no {_MODEL} yet: {how}")
        try:
            load_weights(model, load_file(self.model_path))
        except (SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            what = "run's config.yaml" if self.exists else "model that was given"
            raise RunError(f"{self.model_path} does not fit the {what}: {reason}") from error

    def save_checkpoint(self, tensors: Mapping[str, Tensor], place: Mapping[str, str]) -> None:
        """Write all that training needs to go on, in one file.

        Args:
            tensors: The model's, the optimizers' and the random generator's state.
            place: Where training stands, and what of.
        """
        self._write_tensors(_CHECKPOINT, tensors, dict(place))

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Read what `save_checkpoint` wrote.

        Raises:
            RunError: There is none, or it is damaged.
        """
        try:
            with safe_open(self.checkpoint_path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return tensors, file.metadata() or {}
        except FileNotFoundError as error:
            if self.is_finished:
                raise RunError(f"{self.folder} is finished: there is nothing to resume") from error
            how = "with --overwrite" if self.exists else "instead of resuming"
            raise RunError(f"{self.folder} has no checkpoint: train anew {how}") from error
        except SafetensorError as error:
            raise RunError(f"{self.checkpoint_path} is damaged ({error}); train again") from error

    def drop_results(self) -> None:
        """Remove an earlier training's weights, history and metrics."""
        for name in (_MODEL, _HISTORY, _METRICS):
            (self.folder / name).unlink(missing_ok=True)

    def drop_checkpoint(self) -> None:
        """Remove the checkpoint: training has ended."""
        self.checkpoint_path.unlink(missing_ok=True)

    def append_history(self, entry: Mapping[str, Any]) -> None:
        """Add one line to history.jsonl."""
        self._write_history([*self.history(), entry])

    def cut_history(self, epochs: int) -> None:
        """Drop the lines of later epochs than the checkpoint's, which a killed process may have left."""
        self._write_history([entry for entry in self.history() if entry["epoch"] <= epochs])

    def history(self) -> list[dict[str, Any]]:
        """Read history.jsonl, one entry an epoch.

        Raises:
            RunError: It is damaged.
        """
        path = self.folder / _HISTORY
        if not path.exists():
            return []
        return [_parse(line, path) for line in path.read_text(encoding="utf-8").splitlines()]

    def best_epoch(self, stopping: EarlyStoppingConfig) -> int:
        """Give the first of the epochs whose figure is best.

        Raises:
            RunError: No epoch has such a figure.
        """
        sign = 1 if stopping.mode == "max" else -1
        name = str(stopping.metric)
        figures = [(entry["epoch"], sign * entry[name]) for entry in self.history() if name in entry]
        if not figures:
            raise RunError(f"{self.folder} has no epoch with {name}: train again")
        # The first of equal ones, as early stopping takes.
        best: int = max(figures, key=lambda figure: figure[1])[0]
        return best

    def save_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json."""
        self._write(_METRICS, json.dumps(metrics, indent=2) + "\n")

    def metrics(self) -> dict[str, Any]:
        """Read metrics.json.

        Raises:
            RunError: There is none, or it is damaged.
        """
        path = self.folder / _METRICS
        if not path.exists():
            how = f"evaluate it with torchtowers evaluate {self.folder}" if self.exists else "save them first"
            raise RunError(f"{self.folder} holds no {_METRICS}: {how}")
        return _parse(path.read_text(encoding="utf-8"), path)

    def save_report(self, html: str) -> None:
        """Write report.html."""
        self._write("report.html", html)

    def _write_history(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._write(_HISTORY, "".join(json.dumps(entry) + "\n" for entry in entries))

    def _write(self, name: str, text: str) -> None:
        with self._beside(name) as path:
            path.write_text(text, encoding="utf-8")

    def _write_tensors(self, name: str, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
        contiguous = {key: tensor.detach().contiguous() for key, tensor in tensors.items()}
        with self._beside(name) as path:
            # safetensors makes its file for the owner alone; the run's other files have the umask's rights.
            path.touch()
            rights = path.stat().st_mode
            save_file(contiguous, path, metadata)
            path.chmod(rights)

    @contextmanager
    def _beside(self, name: str) -> Iterator[Path]:
        """Give a path beside the file's own, which takes its name when the block ends well."""
        beside = self.folder / f".{name}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield beside
            beside.replace(self.folder / name)
        except (OSError, SafetensorError) as error:
            raise RunError(f"{self.folder / name} can't be written: {error}") from error
        finally:
            with suppress(OSError):  # a file in the folder's place is told above
                beside.unlink(missing_ok=True)


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}): evaluate the run again, or train it again") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged: expected an object, got {shorten(content)}")
    return content
