"""Starts a TorchServe that runs on its own, tells how it is, and stops it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from torchtowers.serving.archives import Archive, choose_archives
from torchtowers.serving.deployments import Deployments
from torchtowers.serving.errors import ServerNotRunningError, ServingError
from torchtowers.serving.java import server_command, server_environment
from torchtowers.serving.logs import LogReader
from torchtowers.serving.management import Management, Model
from torchtowers.serving.metrics_config import metrics_config
from torchtowers.serving.ports import require_free_ports
from torchtowers.serving.process import deferred_interrupt, end, end_orphans, find, spawn
from torchtowers.serving.properties import Properties, read_properties
from torchtowers.serving.recovery import forget_unfinished
from torchtowers.serving.state import Record, StateFolder
from torchtowers.serving.tokens import Kind, Tokens, is_accepted
from torchtowers.serving.trust import require_signed
from torchtowers.serving.waiting import wait_until_ready

__all__ = ["Server", "current_token", "management_of", "start", "status", "stop"]


@dataclass(frozen=True)
class Server:
    """A server that runs, as it was when it was asked.

    Args:
        record: What its start wrote down: addresses, process, model store, configuration.
        state: Its state folder.
        models: Every version of every model with its workers; empty while the server comes up or
            does not answer.
    """

    record: Record
    state: Path
    models: tuple[Model, ...]

    @property
    def pid(self) -> int:
        """The process."""
        return self.record.pid

    @property
    def ready(self) -> bool:
        """Whether every worker of every model answers requests."""
        return bool(self.models) and all(model.ready for model in self.models)

    @property
    def logs(self) -> Path:
        """The folder of its logs: `model_log.log` is what the workers print, `ts_log.log` is the server's."""
        return StateFolder(self.state).logs


def start(
    model_store: str | Path,
    *,
    models: str = "all",
    config: str | Path,
    state: str | Path | None = None,
    timeout: float = 120.0,
    allow_deploy: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Server:
    """Start TorchServe, and come back when every worker of every model answers requests.

    The server runs on when the caller ends. A start that fails or is interrupted leaves no process.
    What `deploy` has made the default is the default again, and what it has replaced isn't loaded, unless
    `models` names its file.

    Args:
        model_store: The folder with the archives.
        models: `all`, or a list with commas: `movies`, `movies.mar` or `name=movies.mar`. Damaged archives
            are left out of `all`, and told to `progress`.
        config: The `config.properties`; relative paths in it count from the state folder.
        state: The server's state folder; by default `$TORCHTOWERS_STATE` or one in the user's home.
        timeout: Seconds until the workers have to be ready.
        allow_deploy: Whether archives of the model store may be registered while the server runs. Who has
            the management token can run an archive's code then, so it needs token authorization.
        progress: Called with one line for each step.

    Raises:
        ServingError: Something stands in the way that can be told before anything is started.
        UntrustedError: `$TORCHTOWERS_PUBLIC_KEY` names a key, and an archive is not signed by it.
        ServerStartError: TorchServe or a worker did not come up; carries its own last error line.
    """
    say = progress or (lambda _: None)
    folder = StateFolder(state)
    model_store = Path(model_store)
    properties = read_properties(Path(config))
    if allow_deploy and not properties.token_authorization:
        raise ServingError(
            f"{properties.path}: disable_token_authorization=true lets everyone on this host run code by a "
            "deploy: set it to false, or start without --allow-deploy"
        )
    _require_not_running(folder)
    archives = _archives(folder, model_store, models, say)
    require_signed(model_store, archives)
    with folder.lock("start", wait=False):
        _require_not_running(folder)
        require_free_ports(properties)
        tmp = _prepare(folder)
        process: psutil.Process | None = None
        try:
            command = server_command(
                properties, model_store, archives, folder, tmp, allow_deploy=allow_deploy
            )
            environment = server_environment(folder, tmp)
            reader = LogReader(folder.logs)
            say(f"starting TorchServe with {', '.join(map(str, archives))}")
            with deferred_interrupt():
                process = spawn(command, cwd=folder.path, environment=environment, console=folder.console)
                record = _record(process, properties, model_store, tmp)
                folder.write(record)
            with management_of(folder, record) as management:
                ready = wait_until_ready(process, management, archives, reader, timeout=timeout, progress=say)
        except BaseException:
            with deferred_interrupt():
                if process is not None:
                    # Nothing was answered yet that a slow, polite end would save.
                    end(process, timeout=0)
                folder.clear(tmp)
            raise
    return Server(record, folder.path, ready)


def status(state: str | Path | None = None) -> Server | None:
    """Tell how the server of a state folder is; None when none runs.

    Raises:
        ServingError: The state folder can't be read.
    """
    folder = StateFolder(state)
    record = folder.read()
    if record is None or find(record.pid, record.create_time) is None:
        return None
    try:
        with management_of(folder, record) as management:
            models = management.models()
    except ServingError:
        models = ()
    return Server(record, folder.path, models)


def stop(state: str | Path | None = None, *, timeout: float = 30.0) -> None:
    """Stop the server of a state folder, its workers too, and wait until they are gone.

    Args:
        state: The state folder, as for `start`.
        timeout: Seconds after which it is killed instead.

    Raises:
        ServerNotRunningError: None runs.
        ServingError: The state folder can't be read or written.
    """
    folder = StateFolder(state)
    record = folder.read()
    process = find(record.pid, record.create_time) if record else None
    if process is not None:
        end(process, timeout)
    if record is not None:
        end_orphans(record.pid, record.tmp)
        folder.forget(record)
    if process is None:
        raise ServerNotRunningError(f"no server runs in {folder.path}")


def current_token(kind: Kind = "inference", state: str | Path | None = None) -> str:
    """Give a token that one of the server's APIs takes now; one that has expired is renewed.

    Args:
        kind: `inference` or `management`.
        state: The state folder, as for `start`.

    Raises:
        ServerNotRunningError: None runs.
        ServingError: It wants no tokens, or they can't be read.
    """
    folder = StateFolder(state)
    record = folder.read()
    if record is None or find(record.pid, record.create_time) is None:
        raise ServerNotRunningError(f"no server runs in {folder.path}")
    if not record.token_authorization:
        raise ServingError(f"the server at {record.inference} wants no token")
    tokens = Tokens(folder.path, record.management)
    token = tokens.current(kind)
    probe = f"{record.inference}/ping" if kind == "inference" else f"{record.management}/models"
    return token if is_accepted(probe, token) else tokens.renew(kind, token)


def _require_not_running(folder: StateFolder) -> None:
    record = folder.read()
    if record is not None and find(record.pid, record.create_time) is not None:
        raise ServingError(
            f"TorchServe is already running (pid {record.pid}, {record.inference}): "
            "stop it with `torchtowers serve stop`"
        )


def _archives(
    folder: StateFolder, model_store: Path, models: str, say: Callable[[str], None]
) -> list[Archive]:
    if folder.path.exists():
        with folder.lock("deploy", wait=True):
            forget_unfinished(folder)
    deployed = Deployments(folder, model_store)
    chosen = choose_archives(model_store, models, without=deployed.retired, left_out=say)
    # The first version of a model is its default.
    return sorted(chosen, key=lambda archive: archive.file not in deployed.defaults)


def _prepare(folder: StateFolder) -> Path:
    left_behind = folder.read()
    if left_behind is not None:
        end_orphans(left_behind.pid, left_behind.tmp)
    tmp = folder.prepare()
    folder.metrics_config.write_text(metrics_config(), encoding="utf-8")
    return tmp


def _record(process: psutil.Process, properties: Properties, model_store: Path, tmp: Path) -> Record:
    return Record(
        pid=process.pid,
        create_time=process.create_time(),
        inference=properties.inference.url,
        management=properties.management.url,
        metrics=properties.metrics.url,
        grpc=properties.grpc_inference.target,
        token_authorization=properties.token_authorization,
        model_store=str(model_store.resolve()),
        config=str(properties.path),
        started=datetime.now().astimezone().isoformat(timespec="seconds"),
        tmp=str(tmp),
    )


def management_of(folder: StateFolder, record: Record) -> Management:
    """Connect to the management API of the server that a record is of."""
    tokens = Tokens(folder.path, record.management) if record.token_authorization else None
    return Management(record.management, tokens)
