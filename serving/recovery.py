"""Takes a rollout back that failed or lost its process, or finishes one that was there to stay."""

from pathlib import Path

from torchtowers.serving.deployments import Deployments
from torchtowers.serving.draining import drain
from torchtowers.serving.journal import Journal, end_journal, read_journal
from torchtowers.serving.management import Management
from torchtowers.serving.placing import remove
from torchtowers.serving.state import StateFolder

__all__ = ["forget_unfinished", "recover", "take_back"]

_DRAIN = 30.0
_UNREGISTER = 120.0


def recover(folder: StateFolder, management: Management) -> None:
    """Take up a rollout whose process has ended; the caller holds the folder's `deploy` lock.

    Raises:
        ServingError: The server refuses.
    """
    journal = read_journal(folder)
    if journal is None:
        return
    if not _is_committed(folder, journal):
        take_back(folder, management, journal)
        return
    if journal.old is not None and drain(management, journal.name, journal.old, timeout=_DRAIN):
        management.unregister(journal.name, journal.old, timeout=_UNREGISTER)
    end_journal(folder)


def take_back(folder: StateFolder, management: Management, journal: Journal) -> None:
    """Make the old version the default again, and unregister the new one when it has answered all.

    Raises:
        ServingError: The server refuses.
    """
    versions = {model.version: model for model in management.versions(journal.name)}
    new = versions.get(journal.new)
    if new is not None and new.default and journal.old is not None and journal.old in versions:
        management.set_default(journal.name, journal.old)
        if not journal.registered:
            drain(management, journal.name, journal.new, timeout=_DRAIN)
    if new is not None and not journal.registered:
        management.unregister(journal.name, journal.new, timeout=_UNREGISTER)
    _forget(folder, journal)


def forget_unfinished(folder: StateFolder) -> None:
    """Before a start: remove the archive of a rollout that ended with its server, and not in time."""
    journal = read_journal(folder)
    if journal is None:
        return
    if _is_committed(folder, journal):
        end_journal(folder)
    else:
        _forget(folder, journal)


def _forget(folder: StateFolder, journal: Journal) -> None:
    if journal.placed:
        remove(journal.file, Path(journal.store))
    end_journal(folder)


def _is_committed(folder: StateFolder, journal: Journal) -> bool:
    history = Deployments(folder, Path(journal.store)).history(journal.name)
    return bool(history) and history[-1].time == journal.time
