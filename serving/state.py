"""The folder that one server keeps its record, keys, logs and temporary files in."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from torchtowers.serving.errors import ServingError
from torchtowers.serving.log_config import LOG_CONFIG

__all__ = ["Record", "StateFolder"]

# A worker listens at TMPDIR/.ts.sock.9000; the system allows 107 bytes for that path.
_LONGEST_TMPDIR = 85


@dataclass(frozen=True)
class Record:
    """What a start writes down, so that any later process can find and stop exactly that server.

    Args:
        pid: TorchServe's own process.
        create_time: When it began (seconds since the epoch): a recycled pid has another one.
        inference: Address of the inference API, such as `http://127.0.0.1:8080`.
        management: Address of the management API.
        metrics: Address of the metrics API.
        grpc: Host and port of gRPC inference, such as `127.0.0.1:7070`.
        token_authorization: Whether requests need a token.
        model_store: The folder that the archives come from.
        config: The `config.properties` that the server reads.
        started: Local time of the start in ISO 8601.
        tmp: The server's temporary folder: the unpacked archives and the workers' sockets.
    """

    pid: int
    create_time: float
    inference: str
    management: str
    metrics: str
    grpc: str
    token_authorization: bool
    model_store: str
    config: str
    started: str
    tmp: str


class StateFolder:
    """Paths below the state folder, and what is done to them.

    Args:
        path: The folder; by default `$TORCHTOWERS_STATE`, or `serve` in the user's state folder.

    Raises:
        ServingError: By every method, where the system does not let the folder be read or written.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        chosen = path or os.environ.get("TORCHTOWERS_STATE")
        chosen = chosen or platformdirs.user_state_path("torchtowers") / "serve"
        try:
            self.path = Path(chosen).expanduser().resolve()
        except RuntimeError as error:  # an unknown user's home, or links in a circle
            raise _refused(chosen, "find", str(error)) from None
        self.record_file = self.path / "server.json"
        self.key_file = self.path / "key_file.json"
        self.log_config = self.path / "log4j2.xml"
        self.metrics_config = self.path / "metrics.yaml"
        self.logs = self.path / "logs"
        self.console = self.logs / "console.log"

    def prepare(self) -> Path:
        """Make the folder ready for a new server, and give its temporary folder.

        What a server left that ended without `stop` is removed; its logs stay.
        """
        left_behind = self.read()
        if left_behind is not None:
            self.forget(left_behind)
        tmp = self.path / "tmp"
        shutil.rmtree(tmp, ignore_errors=True)
        with self._writing():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            self.console.open("ab").close()
            self.log_config.write_text(LOG_CONFIG, encoding="utf-8")
            self.key_file.unlink(missing_ok=True)
            if len(os.fsencode(tmp)) <= _LONGEST_TMPDIR:
                tmp.mkdir(mode=0o700)
                return tmp
        return Path(tempfile.mkdtemp(prefix="torchtowers-"))

    @contextmanager
    def lock(self, name: str, *, wait: bool) -> Iterator[None]:
        """Hold one of the folder's locks; the system lets go of it even when this process is killed.

        Raises:
            ServingError: Another process holds the lock and `wait` is false.
        """
        with self._writing():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = (self.path / f"{name}.lock").open("w")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ServingError(
                    f"another {name} is under way in {self.path}: wait for it, or give this one its own "
                    "state folder with TORCHTOWERS_STATE"
                ) from None
            yield

    def write(self, record: Record) -> None:
        """Write the record; whoever reads at the same moment sees the old one or the new one whole."""
        self.write_json(self.record_file.name, asdict(record))

    def read(self) -> Record | None:
        """Read the record of the last start; None when there is none that this version understands."""
        try:
            return Record(**self.read_json(self.record_file.name))
        except TypeError:
            return None

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write one of the folder's files, whole or not at all."""
        draft = (self.path / name).with_suffix(".tmp")
        with self._writing():
            draft.write_text(json.dumps(content, indent=2) + "\n")
            draft.replace(self.path / name)

    def read_json(self, name: str) -> Any:
        """Read one of the folder's files; None when there is none, or it is no JSON."""
        try:
            return json.loads((self.path / name).read_text())
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        except OSError as error:
            raise _refused(self.path, "read", error.strerror) from None

    def read_key(self, kind: str) -> str:
        """Read one of the server's keys.

        Raises:
            FileNotFoundError: There is no key file.
            ValueError, KeyError, TypeError: It is half written.
        """
        try:
            return str(json.loads(self.key_file.read_text())[kind]["key"])
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _refused(self.path, "read", error.strerror) from None

    def forget(self, record: Record) -> None:
        """Remove what belongs to a server that has ended, unless a newer one has taken the folder over."""
        if self.read() == record:
            self.clear(Path(record.tmp))

    def clear(self, tmp: Path) -> None:
        """Remove the record, the keys and the temporary folder."""
        shutil.rmtree(tmp, ignore_errors=True)
        with self._writing():
            self.key_file.unlink(missing_ok=True)
            self.record_file.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _refused(self.path, "write", error.strerror) from None


def _refused(folder: str | Path, action: str, reason: str | None) -> ServingError:
    return ServingError(
        f"{folder}: can't {action} the state folder ({reason}): name another one with --state or "
        "TORCHTOWERS_STATE"
    )
