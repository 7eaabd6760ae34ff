"""The page in a real browser, in front of a real TorchServe."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.browser import Page, browsing, needs_browser
from tests.servers import free_ports_config, running
from torchtowers.export.archive import build_archive
from torchtowers.serving.tokens import Tokens

pytestmark = [pytest.mark.java, needs_browser]

ITEMS = "[...document.querySelectorAll('#items li[data-id]')].map(item => item.dataset.id)"
REQUEST = "document.querySelector('#request').textContent"
TARGET = "document.querySelector('#target').textContent"
FOCUS = "document.activeElement.id || document.activeElement.getAttribute('aria-label')"


@pytest.fixture(scope="module")
def store(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in two versions."""
    folder = tmp_path_factory.mktemp("store")
    for version in ("1.0", "2.0"):
        built = build_archive(artifact, name="films", version=version, export_path=folder)
        built.rename(folder / f"films-{version}.mar")
    return folder


@pytest.fixture(scope="module")
def address(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of `torchtowers demo`, in front of a server with both versions."""
    folder = tmp_path_factory.mktemp("demo")
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    with running(store, free_ports_config(folder), folder / "state") as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "torchtowers.cli.main", "demo", "--port=0", f"--state={server.state}"],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(unpacked)},
        )
        try:
            assert process.stderr is not None
            told = process.stderr.readline()
            (found,) = re.findall(r"http://127\.0\.0\.1:\d+/", told)
            yield found
        finally:
            process.send_signal(signal.SIGINT)
            _, rest = process.communicate(timeout=30)
        # Ctrl-C is how it ends, and nothing of it stays.
        assert (process.returncode, rest) == (0, "")
        assert list(unpacked.iterdir()) == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    # Below the system's own folder: a socket in the profile has a path of 107 bytes at most.
    with tempfile.TemporaryDirectory(dir="/tmp") as profile, browsing(Path(profile)) as page:
        yield page


@pytest.fixture
def page(browser: Page, address: str) -> Iterator[Page]:
    """The page with ten recommendations for u3, and a console that stays silent."""
    browser.told.clear()
    opened(browser, address)
    yield browser
    assert browser.told == []


def opened(browser: Page, address: str, width: int = 1200, *, dark: bool = False) -> None:
    browser.open(f"{address}#model=films&user=u3", width, dark=dark)
    browser.until(f"{ITEMS}.length", lambda count: count == 10)


def click(page: Page, selector: str) -> None:
    page.run(f"document.querySelector({selector!r}).click()")


def choose_version(page: Page, version: str) -> None:
    page.run(
        f"document.querySelector('#version').value = '{version}', "
        "document.querySelector('#version').dispatchEvent(new Event('change'))"
    )


def test_a_user_with_history_recommendations_titles_and_scores(page: Page) -> None:
    shown = page.run("document.querySelector('#items li').innerText")
    assert re.search(r"^1\s+Misérables «\d+» the .*\n.*\d{4}.*#1\d\d\s+\d\.\d{4}\s", shown), shown
    assert page.run("document.querySelector('#results-title').textContent") == "For u3"
    assert page.run("document.querySelectorAll('#history li .title').length") > 5
    assert "age" in page.run("document.querySelector('#profile').textContent")
    assert re.match(
        r"10 items in [\d.]+ ms over REST, plain$", page.run("document.querySelector('#status').textContent")
    )
    assert page.run("document.querySelectorAll('#spark rect').length") == 1


def test_an_excluded_item_goes_and_the_list_refills(page: Page) -> None:
    before = page.run(ITEMS)
    page.run("document.querySelector('#items li:nth-child(2) .drop').focus()")
    page.press("Enter")
    after = page.until(ITEMS, lambda items: before[1] not in items)
    assert after[:9] == [before[0], *before[2:]]
    assert len(after) == 10
    assert f'"exclude": ["{before[1]}"]' in page.run(REQUEST)
    # The focus is on the next item, for who excludes several by keyboard.
    assert page.until(FOCUS, lambda label: label.startswith("Exclude "))
    click(page, "#excluded button")
    assert page.until(ITEMS, lambda items: items == before)


def test_dialect_transport_and_version_change_the_way_and_not_the_answer(page: Page) -> None:
    before = page.run(ITEMS)
    click(page, "input[value=instances]")
    assert '"instances": [' in page.until(REQUEST, lambda text: "instances" in text)
    assert (page.run(TARGET), page.run(ITEMS)) == ("POST /v1/models/films:predict", before)
    click(page, "input[value=inputs]")
    page.until(TARGET, lambda text: text == "POST /v2/models/films/infer")
    assert page.run(ITEMS) == before
    click(page, "input[value=grpc]")
    page.until(TARGET, lambda text: text == "gRPC Predictions films")
    click(page, "input[value=rest]")
    choose_version(page, "2.0")
    page.until(TARGET, lambda text: text == "POST /predictions/films/2.0")
    page.until(
        "document.querySelector('#status').textContent", lambda text: text.endswith("the default version")
    )
    assert page.run(ITEMS) == before
    assert "version=2.0" in page.run("location.hash")


def test_filters_narrow_the_list(page: Page) -> None:
    before = page.run(ITEMS)
    click(page, "#filters input[value=Comedy]")
    page.until(REQUEST, lambda text: '"genres": "Comedy"' in text)
    about = "[...document.querySelectorAll('#items .about')].map(line => line.textContent)"
    assert page.run(ITEMS) != before
    assert all("Comedy" in line for line in page.run(about))
    for value in ("instances", "inputs"):
        comedies = page.run(ITEMS)
        click(page, f"input[value={value}]")
        page.until(f"{REQUEST}.includes('\"{value}\": [')")
        assert page.run(ITEMS) == comedies
        assert all("Comedy" in line for line in page.run(about))
    page.run("document.querySelector('#filters [data-end=low]').focus()")
    page.type("2000")
    page.until(REQUEST, lambda text: '"year": {"min": 2000}' in text)
    assert all(int(year) >= 2000 for line in page.run(about) for year in re.findall(r"^\d{4}", line))
    assert page.run(f"{ITEMS}.length") > 0
    click(page, "#filters input[value=Drama]")
    page.until(REQUEST, lambda text: '"genres": ["Comedy", "Drama"]' in text or '["Drama", "Comedy"]' in text)


def test_only_the_items_that_are_named(page: Page) -> None:
    before = page.run(ITEMS)
    page.run("document.querySelector('#k').focus()")
    page.press("Tab")
    page.press("Tab")
    assert page.run(FOCUS) == "include"
    page.type(f"{before[4]}, {before[1]} {before[7]}")
    page.until(REQUEST, lambda text: before[7] in text)
    assert page.until(ITEMS, lambda items: len(items) == 3) == [before[1], before[4], before[7]]
    page.run("document.querySelector('#include').select()")
    page.type(" ")
    assert page.until(ITEMS, lambda items: len(items) == 10) == before
    assert "include" not in page.run(REQUEST)


def test_an_error_is_told_at_its_field(page: Page) -> None:
    page.run("document.querySelector('#k').focus(), document.querySelector('#k').select()")
    page.type("0")
    told = page.until("document.querySelector('[data-control=k] .problem')?.textContent")
    assert told == "k: expected an integer from 1 to 10000, got 0"
    assert page.run("document.querySelector('#k').getAttribute('aria-invalid')") == "true"
    page.run("document.querySelector('#k').select()")
    page.type("3")
    page.until(f"{ITEMS}.length", lambda count: count == 3)
    assert page.run("document.querySelectorAll('.problem, [aria-invalid]').length") == 0


def test_by_keyboard_alone(page: Page) -> None:
    page.run("document.querySelector('#version').focus()")
    page.press("Tab")
    assert page.run(FOCUS) == "user"
    page.type("u1")
    expanded = "document.activeElement.getAttribute('aria-expanded')"
    page.until(expanded, lambda value: value == "true")
    active = (
        "document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.textContent"
    )
    assert page.run(active) == "u1"
    page.press("ArrowDown")
    assert page.run(active) == "u10"
    page.press("Escape")
    assert (page.run(expanded), page.run("document.activeElement.value")) == ("false", "u3")
    page.type("u1")
    page.until(active, lambda value: value == "u1")
    page.press("ArrowUp")
    # The last one comes before the first one, and the other way round.
    assert page.run(active) != "u1"
    page.press("ArrowDown")
    page.press("ArrowDown")
    page.press("Enter")
    page.until("document.querySelector('#results-title').textContent", lambda text: text == "For u10")
    page.until(REQUEST, lambda text: '"u10"' in text)
    before = page.run(ITEMS)
    for _ in range(40):
        page.press("Tab")
        if str(page.run(FOCUS)).startswith("Exclude"):
            break
    outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.press("Enter")
    page.until(ITEMS, lambda items: before[0] not in items)


def test_someone_who_is_not_known_goes_by_features(page: Page) -> None:
    page.run("document.querySelector('#user').focus()")
    page.type("stranger")
    page.until(
        "document.querySelector('#users li')?.textContent ?? ''", lambda text: "not in the list" in text
    )
    page.press("Enter")
    page.until("document.querySelector('#features-box').open")
    page.run("document.querySelector('#feature-age').focus()")
    page.type("30")
    page.until(REQUEST, lambda text: '"age": 30' in text and '"stranger"' in text)
    page.run("document.querySelector('#feature-age').select()")
    page.type("old")
    told = page.until("document.querySelector('[data-control=age] .problem')?.textContent")
    assert told == "age: expected a finite number, got old"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 1200])
def test_nothing_runs_over_the_edge(browser: Page, address: str, width: int, dark: bool) -> None:
    opened(browser, address, width, dark=dark)
    browser.run("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert browser.run("document.documentElement.scrollWidth") == width
    colours = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", colours))) < 64) == dark


def test_no_token_reaches_the_browser(address: str, page: Page) -> None:
    with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
        question = {"model": "films", "version": None, "dialect": "plain", "user": "u3"}
        told = client.post("/api/ask", json={**question, "features": {}, "options": {}}).json()
    state = re.findall(r"--state (\S+?)\)", told["command"])[0]
    tokens = Tokens(Path(state), "")
    for token in (tokens.current("inference"), tokens.current("management")):
        assert token not in str(told)
        assert token not in page.run("document.documentElement.outerHTML")


def test_an_archive_that_is_gone_is_told_and_the_other_one_goes_on(page: Page, store: Path) -> None:
    archive = store / "films-2.0.mar"
    archive.rename(store / "elsewhere")
    choose_version(page, "2.0")
    told = page.until("document.querySelector('#alert').textContent")
    assert "films-2.0.mar: the archive that the server loaded can't be read (No such file" in told
    assert page.run(f"{ITEMS}.length") == 0
    (store / "elsewhere").rename(archive)
    choose_version(page, "1.0")
    page.until(f"{ITEMS}.length", lambda count: count == 10)
    assert page.run("document.querySelector('#alert').textContent") == ""
    # The browser itself tells of an answer of 502.
    assert len(page.told) == 1
    page.told.clear()


def test_titles_are_texts(page: Page) -> None:
    page.run(
        """import('/demo_view.js').then(({ showItems }) => showItems(document.querySelector('#items'),
        [{ id: '<b>', score: 1, fields: { title: '<script>document.title = "taken"</script>' } }],
        { title: 'title', before: null, seen: new Set(), drop() {} }))"""
    )
    assert page.run("document.querySelector('#items .title').textContent").startswith("<script>")
    assert page.run("document.querySelectorAll('#items script, #items b').length") == 0
    assert page.run("document.title") == "torchtowers demo"


CONTRAST = """(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [.2126, .7152, .0722][place], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = numbers(getComputedStyle(node).backgroundColor);
      if (colour.length === 3) return colour;
    }
  };
  const low = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility() || node.closest("svg, .skip")) continue;
    const pair = [light(numbers(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    const ratio = (pair[0] + .05) / (pair[1] + .05);
    if (ratio < 4.5) low.push(`${node.tagName} ${node.textContent.slice(0, 20)} ${ratio.toFixed(2)}`);
  }
  return low;
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out(browser: Page, address: str, dark: bool) -> None:
    opened(browser, address, dark=dark)
    browser.run("document.querySelectorAll('details').forEach(part => part.open = true)")
    click(browser, "#items .drop")
    browser.until("document.querySelectorAll('#excluded button').length")
    click(browser, "#filters input[value=Comedy]")
    browser.run("new Promise(done => setTimeout(done, 600))")
    browser.run("document.querySelector('#items').className = 'items'")
    assert browser.run(CONTRAST) == []


def test_every_control_has_a_name(page: Page) -> None:
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "textbox", "combobox", "spinbutton", "checkbox", "radio", "region")
    nameless = [
        node["role"]["value"]
        for node in tree
        if not node.get("ignored")
        and node["role"].get("value") in roles
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []
