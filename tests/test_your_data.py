"""docs/your-data.md word for word: from files with a column of every kind to two served models."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import free_ports_config, stop_if_running
from torchtowers.data.feature_config import FeatureConfig
from torchtowers.models.config import load_config

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

pytestmark = [pytest.mark.java, pytest.mark.timeout(1800)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder like a fresh checkout's with free ports, and an environment of its own."""
    state = tmp_path / "state"
    (tmp_path / "model_store").mkdir()
    (tmp_path / "config.properties").write_bytes((ROOT / "config.properties").read_bytes())
    free_ports_config(tmp_path)
    environment = {
        **os.environ,
        "TORCHTOWERS_STATE": str(state),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    yield tmp_path, environment
    stop_if_running(state)


# The page's 200,000 rows take some minutes; what is run is the same.
@pytest.mark.parametrize(
    "rows", [pytest.param(200_000, marks=pytest.mark.slow), pytest.param(10_000, id="short")]
)
def test_every_block_runs(rows: int, place: tuple[Path, dict[str, str]]) -> None:
    folder, environment = place
    printed = []
    for block in BLOCKS:
        size = "rows=200_000" if rows == 200_000 else f"rows={rows}, users=400, items=300"
        code = block.replace("rows=200_000", size)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
    every = "\n".join(printed)
    assert "model.depth: unknown key, got 3; allowed here:" in every
    for name in ("shop", "shop-ranking"):
        metrics = json.loads((folder / "runs" / name / "metrics.json").read_text())
        assert metrics["baselines"]
        assert (folder / "runs" / name / "report.html").exists()
        assert (folder / "model_store" / f"{name}.mar").exists()
    assert metrics["test"]["rmse"] < metrics["baselines"]["mean"]["rmse"]
    assert (folder / "tuning" / "shop" / "best.yaml").exists()
    # Two recommendations and the scores of three candidates.
    assert len(re.findall(r"^p\d{5} ", every, re.MULTILINE)) >= 9


def test_the_page_shows_every_kind_of_feature(tmp_path: Path) -> None:
    (block,) = [block for block in BLOCKS if "features:" in block and block.startswith("cat ")]
    content = block.partition("\n")[2].rpartition("EOF")[0]
    (tmp_path / "retrieval.yaml").write_text(content)
    config = load_config(tmp_path / "retrieval.yaml")
    shown = {feature.kind for feature in (*config.features.user.values(), *config.features.item.values())}
    kinds = {
        section.model_fields["kind"].annotation.__args__[0]
        for section in FeatureConfig.__origin__.__args__  # type: ignore[attr-defined]
    }
    assert kinds == shown
