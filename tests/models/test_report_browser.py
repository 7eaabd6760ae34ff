"""The report in a real browser: it asks for nothing elsewhere, and fits a phone."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.models.report_pages import ranking_page, retrieval_page
from torchtowers.models.experiment import Trained

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")

MEASURE = """<script>
const root = document.documentElement;
root.dataset.overflow = root.scrollWidth - root.clientWidth;
root.dataset.paper = getComputedStyle(document.body).backgroundColor;
root.dataset.small = [...document.querySelectorAll("svg")].filter(one => one.clientWidth < 200).length;
</script>"""


def opened(html: str, folder: Path, *options: str) -> tuple[str, str]:
    """Open a page; give its document as the browser has it, and what the console told."""
    page = folder / "report.html"
    page.write_text(html, encoding="utf-8")
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={folder / 'profile'}",
            "--enable-logging=stderr",
            "--dump-dom",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def measured(html: str, folder: Path, *options: str) -> dict[str, str]:
    """Open a page and measure it, for which it needs a script and may have it."""
    allowed = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    document = opened(allowed.replace("</body>", f"{MEASURE}</body>"), folder, *options)[0]
    found = re.search(r"<html[^>]*>", document)
    assert found is not None
    return dict(re.findall(r'data-(\w+)="([^"]*)"', found.group()))


@pytest.mark.parametrize("page", [retrieval_page, ranking_page])
def test_the_console_stays_silent(trained: Trained, tmp_path: Path, page: Callable[[Trained], str]) -> None:
    html = page(trained)
    document, told = opened(html, tmp_path)
    assert told == ""
    assert document.count("<svg") == html.count("<svg") > 0
    assert "Settings and versions</h2>" in document


def test_the_console_would_tell_of_a_request(trained: Trained, tmp_path: Path) -> None:
    html = retrieval_page(trained).replace("</main>", '<img src="http://127.0.0.1:9/a.png"></main>')
    assert "Content Security Policy" in opened(html, tmp_path)[1]


@pytest.mark.parametrize("page", [retrieval_page, ranking_page])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_runs_over_the_edge(
    trained: Trained, tmp_path: Path, page: Callable[[Trained], str], width: int
) -> None:
    found = measured(page(trained), tmp_path, f"--window-size={width},900")
    assert (found["overflow"], found["small"]) == ("0", "0")


def test_the_dark_mode_is_dark(trained: Trained, tmp_path: Path) -> None:
    html = ranking_page(trained)
    light, dark = (
        measured(html, tmp_path, f"--blink-settings=preferredColorScheme={scheme}")["paper"]
        for scheme in (1, 0)
    )
    assert light == "rgb(255, 255, 255)"
    assert max(map(int, re.findall(r"\d+", dark))) < 64
