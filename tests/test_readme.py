"""The README's blocks, run word for word in a copy of the checkout, and the figures that it shows."""

import json
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
NUMBER = re.compile(r"\d+\.\d{3,}")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# A fresh clone and the test suite itself are not for a test to run.
NOT_RUN = ("scripts/test", "pip install")

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
        "TORCHTOWERS_AS_INSTALLED": "1",
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

    On another processor sums are rounded differently, which training amplifies: a model's figures may differ
    by a tenth, and two in five recommended items may be others. All else has to be there as it is shown.
    """
    lines = printed.splitlines()
    items = [line for line in shown.splitlines() if re.match(r"\d+ ", line)]
    same = [line for line in items if any(_text(line) == _text(other) for other in lines)]
    assert len(same) >= 0.6 * len(items), f"{items} not among:\n{printed}"
    for line in shown.splitlines():
        if not line.strip() or line in items:
            continue
        found = any(_alike(line, other) for other in lines)
        assert found, f"not printed: {line}\namong:\n{printed}"


def _alike(shown: str, printed: str) -> bool:
    if shown.startswith("{"):
        if not printed.startswith("{"):
            return False
        return _same_items(json.loads(shown)["items"], json.loads(printed)["items"])
    if _text(shown) != _text(printed):
        return False
    ours, theirs = NUMBER.findall(shown), NUMBER.findall(printed)
    # In the table of figures the second one is popularity's, which no rounding changes.
    exact = len(ours) == 5
    return all(
        one == other if exact and place == 1 else abs(float(one) - float(other)) <= 0.1 * float(one)
        for place, (one, other) in enumerate(zip(ours, theirs, strict=True))
    )


def _text(line: str) -> list[str]:
    return NUMBER.sub("#", line).split()


def _same_items(shown: list[str], printed: list[str]) -> bool:
    return len(shown) == len(printed) and len(set(shown) & set(printed)) >= 0.6 * len(shown)


def test_the_code_is_as_short_as_promised() -> None:
    (code,) = [code for language, code, _ in blocks() if language == "python"]
    assert len(code.splitlines()) <= 40


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
