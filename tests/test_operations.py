"""docs/operations.md: its Python runs, and its commands have the options that it names."""

import re
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.servers import free_ports
from torchtowers.cli.main import main
from torchtowers.handlers import Recommender

PAGE = (Path(__file__).parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
CLIENT, WEB_SERVER = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = sorted({" ".join(line.split()) for line in re.findall(r"^torchtowers .*$", PAGE, re.MULTILINE)})


def test_handlers_run_in_another_server(artifact: Path) -> None:
    (port,) = free_ports(1)
    code = WEB_SERVER.replace("artifacts/movielens", str(artifact)).replace("8000", str(port))
    assert str(port) in code
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                body = {"user_id": "u3", "k": 5}
                assert client.post("/", json=body).json() == Recommender.load(artifact).recommend(body)
                wrong = client.post("/", json={**body, "k": "many"})
                assert (wrong.status_code, wrong.json()["field"]) == (400, "k")
                assert client.post("/", content=b"{").status_code == 400
        finally:
            server.kill()


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise AssertionError("the server does not listen")


def test_the_client_block_is_python_of_this_package() -> None:
    compile(CLIENT, "operations.md", "exec")
    exec(CLIENT.splitlines()[0], {})


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_have_their_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = command.split()[1:]
    verb = words[:2] if words[0] == "serve" else words[:1]
    with pytest.raises(SystemExit) as ended:
        main([*verb, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for option in (word for word in words if word.startswith("--")):
        assert option in told
