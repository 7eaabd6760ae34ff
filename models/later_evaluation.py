"""Evaluation of a run on interactions that came after it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torchtowers.data.later import with_later
from torchtowers.data.readers import read_table
from torchtowers.models.experiment import open_run
from torchtowers.models.kinds import kind_of

__all__ = ["evaluate_on"]


def evaluate_on(folder: str | Path, path: str | Path, *, log: Callable[[str], None]) -> dict[str, Any]:
    """Measure a run and its baselines on later interactions; nothing of the run is changed.

    Users that the run does not know are answered from their other features, as far as the file has those
    columns, with an empty history. Interactions with items that it does not know are left out and counted.

    Args:
        folder: The run directory.
        path: The interactions, with the columns of the run's own: a file, a folder of shards or a pattern.
        log: Told what is done, a line each.

    Returns:
        As in metrics.json: `test`, `baselines`, `dropped`, and of `data` the numbers of `interactions`,
        `users` and `new_users`.

    Raises:
        DataError: The file can't be used.
        RunError: It is no run, or holds no model.
    """
    trained = open_run(folder, log=log)
    config, data = trained.config, trained.config.data
    later = with_later(trained.dataset, data, config.features, read_table(path, (data.user, data.item)))
    test = later.dataset.test
    users = len(set(test.users.tolist()))
    log(f"{len(test):,} interactions of {users:,} users to test on, {later.new_users:,} of them new")
    for reason, count in later.dropped.items():
        log(f"left out: {count:,} {reason}")
    kind = kind_of(config)
    return {
        "test": kind.measure(config, later.dataset, trained.model, "test"),
        "baselines": kind.baselines(config, later.dataset),
        "data": {"interactions": len(test), "users": users, "new_users": later.new_users},
        "dropped": dict(later.dropped),
    }
