"""The rollout that is under way, written down: whoever finds it without its process takes it back."""

from dataclasses import asdict, dataclass

from torchtowers.serving.state import StateFolder

__all__ = ["Journal", "end_journal", "read_journal", "write_journal"]

_FILE = "rollout.json"


@dataclass(frozen=True)
class Journal:
    """What a rollout has changed, or is about to.

    Args:
        time: When it began; no other rollout has the same.
        store: The model store.
        name: The model.
        new: The version that is to come.
        file: Its archive in the model store.
        placed: Whether the archive was put there by this rollout.
        registered: Whether the server had the new version before this rollout.
        old: The version that was the default before; None for a model that is new to the server.
    """

    time: str
    store: str
    name: str
    new: str
    file: str
    placed: bool
    registered: bool
    old: str | None


def write_journal(folder: StateFolder, journal: Journal) -> None:
    """Write down what is under way."""
    folder.write_json(_FILE, asdict(journal))


def read_journal(folder: StateFolder) -> Journal | None:
    """Give what is under way; None if nothing is."""
    try:
        return Journal(**folder.read_json(_FILE))
    except TypeError:
        return None


def end_journal(folder: StateFolder) -> None:
    """Say that nothing is under way."""
    (folder.path / _FILE).unlink(missing_ok=True)
