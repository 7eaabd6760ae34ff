"""The folder that one server keeps its record, keys, logs and temporary files in."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from torchtowers.serving.errors import ServingError

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
    """

    def __init__(self, path: Path | None = None) -> None:
        chosen = path or os.environ.get("TORCHTOWERS_STATE")
        self.path = (
            Path(chosen or platformdirs.user_state_path("torchtowers") / "serve").expanduser().resolve()
        )
        self.record_file = self.path / "server.json"
        self.key_file = self.path / "key_file.json"
        self.log_config = self.path / "log4j2.xml"
        self.logs = self.path / "logs"

    def prepare(self) -> Path:
        """Make the folder ready for a new server, and give its temporary folder.

        What a server left that ended without `stop` is removed; its logs stay.
        """
        left_behind = self.read()
        if left_behind is not None:
            self.forget(left_behind)
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs.mkdir(exist_ok=True)
        self.key_file.unlink(missing_ok=True)
        tmp = self.path / "tmp"
        shutil.rmtree(tmp, ignore_errors=True)
        if len(os.fsencode(tmp)) > _LONGEST_TMPDIR:
            return Path(tempfile.mkdtemp(prefix="torchtowers-"))
        tmp.mkdir(mode=0o700)
        return tmp

    @contextmanager
    def lock(self, name: str, *, wait: bool) -> Iterator[None]:
        """Hold one of the folder's locks; the system lets go of it even when this process is killed.

        Raises:
            ServingError: Another process holds the lock and `wait` is false, or the folder can't be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = (self.path / f"{name}.lock").open("w")
        except OSError as error:
            raise ServingError(
                f"{self.path}: can't write the state folder ({error.strerror}): name another one with "
                "TORCHTOWERS_STATE"
            ) from None
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
        draft = self.record_file.with_suffix(".tmp")
        draft.write_text(json.dumps(asdict(record), indent=2) + "\n")
        draft.replace(self.record_file)

    def read(self) -> Record | None:
        """Read the record of the last start; None when there is none that this version understands."""
        try:
            return Record(**json.loads(self.record_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def forget(self, record: Record) -> None:
        """Remove what belongs to a server that has ended, unless a newer one has taken the folder over."""
        if self.read() == record:
            self.clear(Path(record.tmp))

    def clear(self, tmp: Path) -> None:
        """Remove the record, the keys and the temporary folder."""
        shutil.rmtree(tmp, ignore_errors=True)
        self.key_file.unlink(missing_ok=True)
        self.record_file.unlink(missing_ok=True)
