"""What a server's logs say about a start that failed."""

import re
import time
from collections.abc import Collection
from pathlib import Path

__all__ = ["LogReader", "last_error"]

_PAUSE = 0.1
_LAST_LINES = 2.0
_NEXT_ATTEMPT = 30.0

_LINE = re.compile(r"^\S+ \[\w+ *\] (?P<thread>.+?) (?P<logger>[\w.]+) - (?P<message>.*)$")
_WORKER = re.compile(r"^(?P<worker>W-(?P<id>\d+)-(?P<model>.+?))(-stdout|-stderr)?$")
# One or the other is logged whatever ended a worker, by the worker's own thread.
_DIED = re.compile(r"Load model failed: |Retry worker: ")
_STARTED_ANEW = "Retry worker: "
_TRACEBACK = "Traceback (most recent call last):"
_CHATTER = re.compile(
    r"\[METRICS\]|\[PID\]|s_name_part0=|Backend worker process died|Connection accepted|Listening on port|"
    r"Python runtime|Successfully loaded|Torch worker started|model_name: "
)
_EXCEPTION = re.compile(r"[\w.$]+(Exception|Error)\b")
_CONSOLE_CHATTER = re.compile(r"WARNING: |nvidia-smi |xpu-smi |Model server st")
# What the worker reports after an import inside the handler has failed: the error before it is the cause.
_MASKED_IMPORT = "No module named 'ts.torch_handler."
# TorchServe cuts a model's name off in the names of its threads.
_THREAD_NAME = 25


class LogReader:
    """Reads what a server logs from now on.

    Args:
        logs: The folder that it logs to; may hold the logs of earlier servers.
    """

    def __init__(self, logs: Path) -> None:
        self.server = logs / "ts_log.log"
        self.model = logs / "model_log.log"
        self.console = logs / "console.log"
        self._begin = {
            path: path.stat().st_size if path.exists() else 0 for path in (self.server, self.model)
        }

    def refused_archive(self) -> tuple[str, str] | None:
        """Give the archive that the server could not read, and the server's reason; None if it read all."""
        lines = self._lines(self.server)
        for number, line in enumerate(lines):
            _, found, archive = line.partition(" - Failed to load model: ")
            if found:
                reason = lines[number + 1] if number + 1 < len(lines) else "no reason given"
                return archive.strip(), reason.rpartition("Exception: ")[2].strip()
        return None

    def dead_worker(self, of: Collection[str] | None = None) -> str | None:
        """Give the thread of the first worker that died, such as `W-9000-movies_1.0`; None if none did.

        Args:
            of: The ids of the workers to look for; by default all.
        """
        for line in self._lines(self.server):
            match = _LINE.match(line)
            if match and _DIED.match(match["message"]):
                worker = _WORKER.match(match["thread"])
                if worker and (of is None or worker["id"] in of):
                    return match["thread"]
        return None

    def attempts(self, worker: str) -> int:
        """Give how many processes of that worker the server has given up, to start another."""
        matches = (_LINE.match(line) for line in self._lines(self.server))
        return sum(
            match["thread"] == worker and match["message"].startswith(_STARTED_ANEW)
            for match in matches
            if match
        )

    def runs(self, worker: str, name: str, version: str) -> bool:
        """Tell whether that worker's thread is one of this model's."""
        match = _WORKER.match(worker)
        return match is not None and match["model"][:_THREAD_NAME] == f"{name}_{version}"[:_THREAD_NAME]

    def last_error(self, worker: str) -> str | None:
        """Give the exception and message that a worker's last traceback ends with; None if there is none."""
        errors = []
        inside = False
        for message in self._messages(worker):
            if message.endswith(_TRACEBACK):
                inside = True
            elif inside and message and not message[0].isspace():
                errors.append(message)
                inside = False
        if len(errors) > 1 and _MASKED_IMPORT in errors[-1]:
            errors.pop()
        return errors[-1] if errors else None

    def last_words(self, worker: str) -> str | None:
        """Give the last line that a worker printed which is not TorchServe's chatter."""
        said = [
            message for message in self._messages(worker) if message.strip() and not _CHATTER.search(message)
        ]
        return said[-1] if said else None

    def first_complaint(self) -> str | None:
        """Give the line that tells why the server itself ended: its first exception, else its first line.

        What follows are the troubles that an unfinished start has with stopping.
        """
        lines = [line.strip() for line in self._lines(self.console) if line.strip()]
        exceptions = [line for line in lines if _EXCEPTION.match(line)]
        said = [line for line in lines if not _CONSOLE_CHATTER.match(line)]
        return next(iter([*exceptions, *said]), None)

    def _messages(self, worker: str) -> list[str]:
        threads = {worker, f"{worker}-stdout", f"{worker}-stderr"}
        matches = (_LINE.match(line) for line in self._lines(self.model))
        return [match["message"] for match in matches if match and match["thread"] in threads]

    def _lines(self, path: Path) -> list[str]:
        try:
            with path.open("rb") as file:
                # A file that is shorter now has been rolled over.
                begin = self._begin.get(path, 0)
                file.seek(begin if path.stat().st_size >= begin else 0)
                return file.read().decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []


def last_error(worker: str, reader: LogReader) -> str:
    """Give what a worker that died said last.

    Waits a moment for it, as it is logged after its end. TorchServe stops reading what a worker prints when
    it finds it dead, and on a busy machine loses the last of it; so where nothing was said, the end of the
    process that it starts next is waited for, too.
    """
    deadline = time.monotonic() + _NEXT_ATTEMPT
    again = False
    while time.monotonic() < deadline:
        error = reader.last_error(worker)
        if error:
            return error
        if not again and reader.attempts(worker) > 1:
            again, deadline = True, time.monotonic() + _LAST_LINES
        time.sleep(_PAUSE)
    words = reader.last_words(worker)
    return (
        f"without an error of its own, last line: {words}"
        if words
        else "without a word (killed, or out of memory?)"
    )
