"""Measures how one model is served best on this machine: every setting in a server of its own making."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import yaml

from torchtowers.serving.archives import Archive
from torchtowers.serving.client import Client
from torchtowers.serving.errors import ServerStartError, ServingError
from torchtowers.serving.load import measure_load, right_answers
from torchtowers.serving.model_config import answer_tolerance, cores, present_setting, read_model_config
from torchtowers.serving.private_server import private_server
from torchtowers.serving.process import interrupted_by_termination
from torchtowers.serving.server import Server
from torchtowers.serving.trust import require_signed
from torchtowers.serving.tuning_choice import Point, choose, finalists, most_latency
from torchtowers.serving.tuning_grid import Setting, grid
from torchtowers.serving.tuning_result import Tuning

__all__ = ["Reconfigure", "tune"]

Reconfigure = Callable[[Path, Path, Path], object]
"""Writes a copy of an archive with another model-config.yaml: the archive, the file, the copy."""

# Workers that one server has, however much memory there is: they load at once.
_MOST_WORKERS = 8
# That the time of a setting is cut into.
_ROUNDS = 2
# Of the free memory and disk, so much is used.
_SHARE = 0.5


def tune(
    model_store: Path,
    archive: Archive,
    requests: Sequence[Any],
    reconfigure: Reconfigure,
    *,
    config: Path,
    batch_sizes: Sequence[int] = (1, 8, 32, 64),
    delays: Sequence[int] = (1, 2, 5),
    workers: Sequence[int] = (1, 2),
    threads: Sequence[int] = (1, 2),
    clients: int = 64,
    seconds: float = 3.0,
    most: float | None = None,
    timeout: float = 300.0,
    progress: Callable[[str], None] = lambda _: None,
) -> Tuning:
    """Measure settings of a model in servers that are started for it, and choose the best.

    A server that runs is not touched, but for the time that both want of the machine. Ctrl-C, SIGTERM and
    SIGHUP end the measuring, and what was measured until then is given; the servers end also when this
    process is killed.

    Args:
        model_store: The folder with the archive.
        archive: The archive.
        requests: Bodies, which are asked by turns.
        reconfigure: Writes the copies of the archive that are served.
        config: The `config.properties` that it will be served with.
        batch_sizes: To try, as all that follows: see `grid`.
        delays: In milliseconds.
        workers: Processes.
        threads: Of one operation in one worker; passed over where the handler is not ours.
        clients: That ask at once.
        seconds: Of load for each setting; one client is measured for a third of it.
        most: See `most_latency`.
        timeout: Seconds that a server may take to come up.
        progress: Told how it goes.

    Raises:
        ServingError: A value is out of range, the archive or the configuration can't be read, or a request
            gets an error.
        UntrustedError: `$TORCHTOWERS_PUBLIC_KEY` names a key, and the archive is not signed by it.
    """
    if not requests:
        raise ServingError("no requests to send: give some with --input")
    if not seconds > 0:
        raise ServingError(f"--seconds: expected more than 0, got {seconds:g}")
    if most is not None and not most > 0:
        raise ServingError(f"--most-latency: expected more than 0 ms, got {most:g}")
    require_signed(model_store, [archive])
    path = model_store / archive.file
    content = read_model_config(path)
    settings = grid(
        present_setting(path, content, config),
        batch_sizes=batch_sizes,
        delays=delays,
        workers=workers,
        threads=threads,
        clients=clients,
        cores=cores(),
    )
    progress(
        f"measuring {len(settings)} settings of {archive.name} with {clients} clients, "
        f"{len(settings) * seconds * 5 / 3 / 60:.1f} min and the starts of the servers"
    )
    run = _Run(path, requests, reconfigure, content, config, clients, seconds, timeout, progress)
    is_interrupted = False
    try:
        with interrupted_by_termination():
            run.measure_all(settings)
            run.measure_again(finalists(run.points, most_latency(run.points, most)))
    except KeyboardInterrupt:
        is_interrupted = True
        progress(f"interrupted after {len(run.points)} of {len(settings)} settings")
    points = run.points
    limit = most_latency(points, most)
    return Tuning(
        name=archive.name,
        clients=clients,
        seconds=seconds,
        points=points,
        planned=len(settings),
        most_latency=limit,
        chosen=choose(points, limit),
        config=content,
        is_interrupted=is_interrupted,
    )


class _Run:
    """Measures settings, several in one server where they fit."""

    def __init__(
        self,
        path: Path,
        requests: Sequence[Any],
        reconfigure: Reconfigure,
        content: Mapping[str, Any],
        config: Path,
        clients: int,
        seconds: float,
        timeout: float,
        say: Callable[[str], None],
    ) -> None:
        self._measured: dict[Setting, list[Point]] = {}
        self._path = path
        self._requests = requests
        self._reconfigure = reconfigure
        self._content = content
        self._config = config
        self._clients = clients
        self._seconds = seconds
        self._timeout = timeout
        self._say = say
        self._tolerance = answer_tolerance(path)
        self._expected: Sequence[Any] | None = None
        self._worker_bytes = 0
        self._began = monotonic()
        self._done = self._planned = 0

    @property
    def points(self) -> tuple[Point, ...]:
        """What was measured until now, the rounds of a setting taken together."""
        return tuple(Point.best(rounds) for rounds in self._measured.values() if rounds)

    def measure_all(self, settings: Sequence[Setting]) -> None:
        """Measure the present setting, and then the others by the workers that they need."""
        self._planned = len(settings)
        self._measure(settings[:1])
        for _, same in groupby(settings[1:], key=lambda setting: (setting.workers, setting.threads)):
            self._measure_in_parts(list(same))

    def measure_again(self, settings: Sequence[Setting]) -> None:
        """Measure some once more, by turns, since what else the machine does may have changed meanwhile."""
        if len(settings) > 1:
            self._say(f"measuring the present setting and the best once more: {len(settings)} settings")
            self._began, self._done, self._planned = monotonic(), 0, len(settings)
            self._measure_in_parts(settings)

    def _measure_in_parts(self, settings: Sequence[Setting]) -> None:
        room = self._room(max(setting.workers for setting in settings))
        for begin in range(0, len(settings), room):
            self._measure(settings[begin : begin + room])

    def _room(self, workers: int) -> int:
        """Give how many settings fit into one server, by memory, disk, and what can load at once."""
        if not self._worker_bytes:
            return 1
        room = _MOST_WORKERS // workers
        room = min(room, int(psutil.virtual_memory().available * _SHARE / (self._worker_bytes * workers)))
        # The copy, and what TorchServe unpacks of it.
        disk = shutil.disk_usage(tempfile.gettempdir()).free * _SHARE / (2 * _size(self._path))
        return max(1, min(room, int(disk)))

    def _measure(self, settings: Sequence[Setting]) -> None:
        """Measure settings in one server; where it does not come up, each in one of its own."""
        count = f"{len(settings)} settings" if len(settings) > 1 else "the setting"
        self._say(f"starting a server for {count} {settings[0]}{' and on' if len(settings) > 1 else ''}")
        with tempfile.TemporaryDirectory(prefix="torchtowers-tune-", ignore_cleanup_errors=True) as temporary:
            folder = Path(temporary)
            names = self._copies(folder, settings)
            models = ",".join(f"{name}={file}" for name, file in names.items())
            try:
                with private_server(
                    folder, config=self._config, models=models, timeout=self._timeout
                ) as server:
                    self._note_memory(server)
                    self._rounds(dict(zip(names, settings, strict=True)), server)
                return
            except ServerStartError as error:
                if len(settings) == 1:
                    # Its logs are gone with the server's folder.
                    failure = str(error).partition("; its ")[0]
                    self._measured.setdefault(settings[0], []).append(Point(settings[0], failure=failure))
                    self._tell(settings[0])
                    return
        for setting in settings:
            self._measure([setting])

    def _rounds(self, settings: Mapping[str, Setting], server: Server) -> None:
        """Measure one setting after the other, and that again: a busy moment falls on one round only."""
        for turn in range(_ROUNDS):
            for name, setting in settings.items():
                self._measured.setdefault(setting, []).append(self._point(name, setting, server))
                if turn == _ROUNDS - 1:
                    self._tell(setting)

    def _copies(self, folder: Path, settings: Sequence[Setting]) -> dict[str, str]:
        store, model_config = folder / "store", folder / "model-config.yaml"
        store.mkdir()
        names = {}
        for number, setting in enumerate(settings):
            model_config.write_text(yaml.safe_dump(setting.applied(self._content)), encoding="utf-8")
            name = f"setting{number}"
            names[name] = f"{name}.mar"
            self._reconfigure(self._path, model_config, store / names[name])
        return names

    def _note_memory(self, server: Server) -> None:
        for model in server.models:
            for worker in model.workers:
                with suppress(psutil.NoSuchProcess):
                    resident = psutil.Process(worker.pid).memory_info().rss
                    self._worker_bytes = max(self._worker_bytes, resident)

    def _point(self, name: str, setting: Setting, server: Server) -> Point:
        if self._expected is None:
            with Client.from_state(server.state) as client:
                self._expected = right_answers(
                    client,
                    name,
                    self._requests,
                    None,
                    version=None,
                    grpc=False,
                    check=True,
                    timeout=30.0,
                    say=self._say,
                )
        try:
            single, load = (
                measure_load(
                    name,
                    self._requests,
                    expected=self._expected,
                    tolerance=self._tolerance,
                    clients=clients,
                    seconds=seconds,
                    warm_up=seconds / 4,
                    state=server.state,
                )
                for clients, seconds in (
                    (1, self._seconds / _ROUNDS / 3),
                    (self._clients, self._seconds / _ROUNDS),
                )
            )
        except ServingError as error:
            return Point(setting, failure=str(error))
        return Point.of(setting, single, load)

    def _tell(self, setting: Setting) -> None:
        self._done += 1
        left = (monotonic() - self._began) / self._done * (self._planned - self._done)
        point = Point.best(self._measured[setting])
        what = point.failure or (
            f"{point.requests_per_second:,.0f} requests/s, one client {point.single:.2f} ms"
        )
        told = f"; about {left / 60:.0f} min {left % 60:.0f} s left" if left else ""
        self._say(f"{self._done} of {self._planned}: {setting}: {what}{told}")


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) or 1
    return path.stat().st_size
