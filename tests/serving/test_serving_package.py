import subprocess
import sys

import pytest

from torchtowers import serving


def test_what_it_offers() -> None:
    assert serving.__all__ == sorted(serving.__all__)
    assert all(hasattr(serving, name) for name in serving.__all__)


@pytest.mark.parametrize("missing", ["grpc", "httpx", "psutil", "google.protobuf"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import torchtowers.serving"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    *_, last = told.stderr.strip().splitlines()
    assert last.endswith("is not installed: pip install 'torchtowers[serve]'")
    assert "ServingError: " in last
