"""The README's blocks, run word for word in a copy of the checkout, and the figures that it shows."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import free_ports_config, stop_if_running

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# A fresh clone and the test suite itself are not for a test to run.
NOT_RUN = ("git clone", "scripts/test", "pip install")

pytestmark = [
    pytest.mark.java,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="runs scripts, which use .venv"),
]


def blocks() -> list[tuple[str, str, str]]:
    """Give each block that can be run as language, code and the output shown below it (or nothing)."""
    found = [(match[1], match[2]) for match in BLOCK.finditer(README)]
    return [
        (
            language,
            code,
            found[place + 1][1] if place + 1 < len(found) and found[place + 1][0] == "text" else "",
        )
        for place, (language, code) in enumerate(found)
        if language in ("bash", "python") and not code.startswith(NOT_RUN)
    ]


@pytest.fixture(scope="module")
def checkout(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Path, dict[str, str], dict[str, str]]]:
    """A copy of the checkout with free ports, its environment, and what README's ports became."""
    copy = tmp_path_factory.mktemp("readme") / "torchtowers"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    state = copy.parent / "state"
    free_ports_config(copy)
    ports = {"8080": _port(copy, "inference_address"), "7070": _port(copy, "grpc_inference_port")}
    environment = {
        **os.environ,
        "TORCHTOWERS_STATE": str(state),
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
    }
    yield copy, environment, ports
    stop_if_running(state)


def _port(copy: Path, key: str) -> str:
    (line,) = [
        line for line in (copy / "config.properties").read_text().splitlines() if line.startswith(f"{key}=")
    ]
    return line.rpartition("=")[2].rpartition(":")[2]


def test_every_block_runs_and_prints_what_it_shows(
    checkout: tuple[Path, dict[str, str], dict[str, str]],
) -> None:
    copy, environment, ports = checkout
    ran = []
    for language, code, shown in blocks():
        for port, free in ports.items():
            code = code.replace(port, free)
        command = (
            [sys.executable, "-c", code] if language == "python" else ["bash", "-euo", "pipefail", "-c", code]
        )
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        _compare(shown, done.stdout)
        ran.append(language)
    assert ran.count("python") >= 1
    assert ran.count("bash") >= 3


def _compare(shown: str, printed: str) -> None:
    """Find what is shown among what was printed.

    On another processor sums are rounded differently, which training amplifies: figures may differ by 0.02,
    and two in five recommended items may be others.
    """
    lines = printed.splitlines()
    expected = [line for line in shown.splitlines() if line.strip()]
    missing = [line for line in expected if not any(_alike(line, other) for other in lines)]
    items = [line for line in expected if re.match(r"\d+ ", line)]
    assert not [line for line in missing if line not in items], f"{missing} not among:\n{printed}"
    assert len(missing) <= 0.4 * len(items), f"{missing} not among:\n{printed}"


def _alike(shown: str, printed: str) -> bool:
    number = re.compile(r"\d+\.\d{3,}")
    same_text = number.sub("#", shown).split() == number.sub("#", printed).split()
    pairs = zip(number.findall(shown), number.findall(printed), strict=False)
    return same_text and all(abs(float(one) - float(other)) <= 0.02 for one, other in pairs)


def test_the_code_is_as_short_as_promised() -> None:
    (code,) = [code for language, code, _ in blocks() if language == "python"]
    assert len(code.splitlines()) <= 40


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
