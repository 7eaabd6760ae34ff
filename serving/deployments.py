"""What was deployed to a server, so that a restart serves it and a rollback finds what was before."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from torchtowers.serving.errors import ServingError
from torchtowers.serving.state import StateFolder

__all__ = ["Deployed", "Deployments"]

_RECORD = "deployments.json"


@dataclass(frozen=True)
class Deployed:
    """One version that was, or is, the default of its model.

    Args:
        version: The version.
        file: Its archive in the model store.
        time: Local time in ISO 8601; empty where a start of the server made it the default.
    """

    version: str
    file: str
    time: str = ""


@dataclass(frozen=True)
class _Model:
    history: tuple[Deployed, ...] = ()
    retired: tuple[str, ...] = ()


@dataclass
class Deployments:
    """The record in a state folder; it is of one model store, and says nothing of another.

    Args:
        folder: The state folder.
        store: The model store.
    """

    folder: StateFolder
    store: Path
    _models: dict[str, _Model] = field(init=False)

    def __post_init__(self) -> None:
        self._models = self._read()

    def history(self, name: str) -> tuple[Deployed, ...]:
        """Give what was the default of a model, oldest first; the last one is, as far as we know."""
        return self._models.get(name, _Model()).history

    @property
    def retired(self) -> frozenset[str]:
        """Archives in the model store that a later version has replaced."""
        return frozenset(file for model in self._models.values() for file in model.retired)

    @property
    def defaults(self) -> frozenset[str]:
        """Archives in the model store that are the default of their model."""
        return frozenset(model.history[-1].file for model in self._models.values() if model.history)

    def commit(self, name: str, history: tuple[Deployed, ...]) -> None:
        """Write down a model's history; its last entry is the default from now on, at every start."""
        known = self._models.get(name, _Model())
        files = {entry.file for entry in (*known.history, *history)} | set(known.retired)
        self._models[name] = _Model(history, tuple(sorted(files - {history[-1].file})))
        models = {name: asdict(model) for name, model in self._models.items()}
        self.folder.write_json(_RECORD, {"store": str(self.store.resolve()), "models": models})

    def _read(self) -> dict[str, _Model]:
        read = self.folder.read_json(_RECORD)
        try:
            if read is None or read["store"] != str(self.store.resolve()):
                return {}
            return {
                name: _Model(tuple(Deployed(**entry) for entry in model["history"]), tuple(model["retired"]))
                for name, model in read["models"].items()
            }
        except (KeyError, TypeError, AttributeError):
            raise ServingError(
                f"{self.folder.path / _RECORD}: not what this version writes: move it away; a start then "
                "serves every version in the model store"
            ) from None
