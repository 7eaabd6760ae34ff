from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving.demo_pages import serving
from torchtowers.serving.demo_backend import Backend


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(Backend(tmp_path_factory.mktemp("state"))) as client:
        yield client


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:9000", "LOCALHOST:80"])
def test_this_host_is_answered(page: httpx.Client, host: str) -> None:
    assert page.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8090", "localhost.evil.example", "127.0.0.1:80@evil", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/models"])
def test_another_name_for_this_host_is_refused(page: httpx.Client, host: str, path: str) -> None:
    answer = page.get(path, headers={"Host": host})
    assert answer.status_code == 421
    assert "torchtowers" not in answer.text


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_gets_nothing(page: httpx.Client, site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors"}
    assert page.get("/api/models", headers=headers).status_code == 403
    assert page.post("/api/ask", headers=headers, json={}).status_code == 403
    # It may have a link that leads here.
    followed = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert page.get("/", headers=followed).status_code == 200
    assert page.post("/api/ask", headers=followed, json={}).status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_a_form_of_another_site_is_refused(page: httpx.Client, kind: str) -> None:
    assert page.post("/api/ask", content=b"{}", headers={"Content-Type": kind}).status_code == 415


@pytest.mark.parametrize("path", ["/", "/demo_page.js", "/api/models", "/nothing"])
def test_every_answer_forbids_what_the_page_does_not_need(page: httpx.Client, path: str) -> None:
    headers = page.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


def test_refusals_have_the_headers_too(page: httpx.Client, tmp_path: Path) -> None:
    assert "content-security-policy" in page.get("/", headers={"Host": "evil.example"}).headers
