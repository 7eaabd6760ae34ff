"""Puts a version in the place of the one that runs, or leaves everything as it was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from torchtowers.handlers.samples import Sample
from torchtowers.serving.archives import Archive, read_archive
from torchtowers.serving.client import Client
from torchtowers.serving.deployments import Deployed, Deployments
from torchtowers.serving.draining import drain
from torchtowers.serving.errors import AnswerError, ServerNotRunningError, ServingError
from torchtowers.serving.golden import Comparison, compare, read_golden
from torchtowers.serving.guard import guarded
from torchtowers.serving.journal import Journal, end_journal, write_journal
from torchtowers.serving.loading import wait_until_loaded
from torchtowers.serving.logs import LogReader
from torchtowers.serving.management import Management, Model
from torchtowers.serving.model_config import answer_tolerance
from torchtowers.serving.placing import clear_drafts, place, plan, require_sound
from torchtowers.serving.process import deferred_interrupt, find
from torchtowers.serving.recorded import recorded_samples
from torchtowers.serving.recovery import recover, take_back
from torchtowers.serving.server import management_of
from torchtowers.serving.state import Record, StateFolder

__all__ = ["Deployment", "deploy", "rollback"]


@dataclass(frozen=True)
class Deployment:
    """What a rollout has done.

    Args:
        name: The model.
        version: The version that is the default now.
        before: The one that was; None for a model that is new to the server.
        archive: The archive in the model store.
        comparison: Of the golden requests' answers; None where there were none.
        old_stays: Whether the version before is still on the server, since it was still asked for; a
            later rollout removes it.
    """

    name: str
    version: str
    before: str | None
    archive: Path
    comparison: Comparison | None
    old_stays: bool


@dataclass(frozen=True)
class _Settings:
    workers: int | None
    golden: Sequence[Sample]
    min_overlap: float | None
    max_difference: float | None
    drain: float
    timeout: float
    say: Callable[[str], None]


def deploy(
    file: str | Path,
    *,
    state: str | Path | None = None,
    workers: int | None = None,
    golden: str | Path | None = None,
    min_overlap: float | None = None,
    max_difference: float | None = None,
    drain: float = 60.0,
    timeout: float = 300.0,
    progress: Callable[[str], None] | None = None,
) -> Deployment:
    """Put an archive in the place of its model's running version, without a request that fails.

    It is checked, put into the model store, registered beside the running version, asked the golden
    requests, and made the default; the version before is unregistered when it has answered all it was
    asked. A failure at any step, and the end of this process, leave the version before as it was.

    Args:
        file: A `.mar` or a `.tar.gz`.
        state: The server's state folder, as for `start`.
        workers: How many run it; by default what the archive says.
        golden: A file of requests, a JSON object a line: a body, or `{"request": …, "answer": …}`; by
            default those that the archive was recorded with.
        min_overlap: The least mean share of the old version's items in the new answers, from 0 to 1.
        max_difference: The most that one item's score may differ from the old version's.
        drain: Seconds that the version before gets to answer what it was asked. One that is still asked
            for then, by clients that name it, stays beside the new one.
        timeout: Seconds that unpacking and loading may take.
        progress: Called with one line for each step.

    Raises:
        ServerNotRunningError: No server runs.
        ServingError: The version doesn't come up, fails a golden request or a threshold, is there already,
            or the server doesn't allow it.
        ArtifactError: The archive is damaged, altered or not signed.
    """
    if workers is not None and workers < 1:
        raise ServingError(f"workers: expected 1 or more, got {workers}")
    folder, record = _running(state)
    settings = _Settings(
        workers,
        read_golden(Path(golden)) if golden is not None else (),
        min_overlap,
        max_difference,
        drain,
        timeout,
        progress or (lambda _: None),
    )
    with folder.lock("deploy", wait=False), management_of(folder, record) as management:
        recover(folder, management)
        store = Path(record.model_store)
        clear_drafts(store)
        read = read_archive(Path(file))
        running = management.versions(read.name)
        if any(model.version == read.version for model in running):
            raise ServingError(
                f"{read.name} {read.version} is on the server already: build the new one with a --version "
                "of its own"
            )
        archive, placed = plan(Path(file), store)
        journal = Journal(
            time=_now(),
            store=str(store),
            name=archive.name,
            new=archive.version,
            file=archive.file,
            placed=placed,
            registered=False,
            old=next((model.version for model in running if model.default), None),
        )
        history = (
            *_known(Deployments(folder, store), running, archive.name),
            Deployed(archive.version, archive.file, journal.time),
        )
        return _Rollout(folder, management, journal, history, settings).run(Path(file), archive)


def rollback(
    name: str,
    *,
    state: str | Path | None = None,
    drain: float = 60.0,
    timeout: float = 300.0,
    progress: Callable[[str], None] | None = None,
) -> Deployment:
    """Put the version back that the last `deploy` replaced, by the same steps.

    Args:
        name: The model.
        state: The server's state folder, as for `start`.
        drain: Seconds that the version to go gets, as for `deploy`.
        timeout: Seconds that unpacking and loading may take.
        progress: Called with one line for each step.

    Raises:
        ServerNotRunningError: No server runs.
        ServingError: There is nothing to go back to, or its archive is gone, or it doesn't come up.
    """
    folder, record = _running(state)
    settings = _Settings(None, (), None, None, drain, timeout, progress or (lambda _: None))
    with folder.lock("deploy", wait=False), management_of(folder, record) as management:
        recover(folder, management)
        store = Path(record.model_store)
        running = management.versions(name)
        history = _known(Deployments(folder, store), running, name)
        if len(history) < 2:
            raise ServingError(f"{name}: nothing was deployed over an earlier version in {folder.path}")
        target = history[-2]
        file = store / target.file
        if not file.exists():
            raise ServingError(f"{file}: the archive of {name} {target.version} is gone: deploy it again")
        archive, _ = plan(file, store)
        if (archive.name, archive.version) != (name, target.version):
            raise ServingError(f"{file} was {name} {target.version}, and is {archive} now")
        journal = Journal(
            time=_now(),
            store=str(store),
            name=name,
            new=target.version,
            file=target.file,
            placed=False,
            registered=any(model.version == target.version for model in running),
            old=history[-1].version,
        )
        history = (*history[:-2], replace(target, time=journal.time))
        return _Rollout(folder, management, journal, history, settings).run(file, archive)


@dataclass(frozen=True)
class _Rollout:
    folder: StateFolder
    management: Management
    journal: Journal
    history: tuple[Deployed, ...]
    settings: _Settings

    def run(self, file: Path, archive: Archive) -> Deployment:
        journal, deployments = self.journal, Deployments(self.folder, Path(self.journal.store))
        with guarded(self.folder):
            try:
                write_journal(self.folder, journal)
                self._place(file, archive)
                if not journal.registered:
                    self._load()
                comparison = self._compare()
                resting = self._switch(deployments)
                with deferred_interrupt():
                    deployments.commit(journal.name, self.history)
            except BaseException:
                with deferred_interrupt():
                    self._say("is taken back")
                    take_back(self.folder, self.management, journal)
                raise
            with deferred_interrupt():
                old_is_gone = self._unregister(resting)
        return Deployment(
            journal.name,
            journal.new,
            journal.old,
            Path(journal.store) / journal.file,
            comparison,
            old_stays=not old_is_gone,
        )

    def _place(self, file: Path, archive: Archive) -> None:
        store = Path(self.journal.store)
        if self.journal.placed:
            place(file, store, archive)
        else:
            require_sound(archive, store)
        self._say(f"is {store / archive.file}, and as it was built")

    def _load(self) -> None:
        journal, settings = self.journal, self.settings
        reader = LogReader(self.folder.logs)
        try:
            self.management.register(journal.file, workers=settings.workers or 1, timeout=settings.timeout)
        except AnswerError as error:
            if error.code != 405:
                raise
            raise ServingError(
                "this server takes no new models: start it with `torchtowers serve start --allow-deploy`"
            ) from None
        if settings.workers is not None:
            self.management.scale(journal.name, journal.new, settings.workers)
        wait_until_loaded(self.management, reader, journal.name, journal.new, timeout=settings.timeout)
        self._say("is ready")

    def _compare(self) -> Comparison | None:
        journal, settings = self.journal, self.settings
        archive = Path(journal.store) / journal.file
        golden = settings.golden or recorded_samples(archive)
        if not golden:
            self._say("has no recorded requests and was asked none")
            return None
        with Client.from_state(self.folder.path) as client:
            tolerance = answer_tolerance(archive)
            comparison = compare(client, journal.name, journal.new, journal.old, golden, tolerance)
        self._say(str(comparison))
        comparison.require(settings.min_overlap, settings.max_difference)
        return comparison

    def _switch(self, deployments: Deployments) -> list[str]:
        """Make the new version the default; give the earlier ones that have answered all."""
        name, settings = self.journal.name, self.settings
        self.management.set_default(name, self.journal.new)
        self._say("is the default")
        before = [
            model.version
            for model in self.management.versions(name)
            if model.version == self.journal.old
            or (not model.default and model.archive in deployments.retired)
        ]
        resting = []
        for version in before:
            if drain(self.management, name, version, timeout=settings.drain):
                resting.append(version)
            else:
                settings.say(f"{name} {version}: still asked after {settings.drain:g} s, and stays")
        return resting

    def _unregister(self, resting: Sequence[str]) -> bool:
        """Remove earlier versions; tell whether the one before is among them."""
        name, say = self.journal.name, self.settings.say
        gone = []
        for version in resting:
            try:
                self.management.unregister(name, version, timeout=self.settings.timeout)
            except ServingError as error:
                say(f"{name} {version}: not unregistered, which the next deploy tries again: {error}")
            else:
                say(f"{name} {version}: unregistered, all it was asked is answered")
                gone.append(version)
        end_journal(self.folder)
        return self.journal.old is None or self.journal.old in gone

    def _say(self, what: str) -> None:
        self.settings.say(f"{self.journal.name} {self.journal.new}: {what}")


def _running(state: str | Path | None) -> tuple[StateFolder, Record]:
    folder = StateFolder(state)
    record = folder.read()
    if record is None or find(record.pid, record.create_time) is None:
        raise ServerNotRunningError(f"no server runs in {folder.path}")
    return folder, record


def _known(deployments: Deployments, running: Sequence[Model], name: str) -> tuple[Deployed, ...]:
    """Give the history up to the version that is the default now, whoever made it that."""
    current = next((model for model in running if model.default), None)
    if current is None:
        return ()
    history = deployments.history(name)
    for length in range(len(history), 0, -1):
        if history[length - 1].version == current.version:
            return history[:length]
    return (*history, Deployed(current.version, current.archive))


def _now() -> str:
    return datetime.now().astimezone().isoformat()
