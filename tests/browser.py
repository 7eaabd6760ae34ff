"""A headless Chromium driven through its own protocol (CDP) over two pipes: no driver, no port."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")

KEYS = {"ArrowDown": 40, "ArrowUp": 38, "Enter": 13, "Escape": 27, "Tab": 9, " ": 32}


class Page:
    """One page of a browser."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = os.fdopen(reading, "rb", buffering=0)
        self._writing = os.fdopen(writing, "wb", buffering=0)
        self._number = 0
        self._left = b""
        self._session: str | None = None
        self.told: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and give its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._writing.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            block = self._reading.read(1 << 16)
            assert block, "the browser has ended"
            self._left += block
        content, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(content)
        if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.told.append(json.dumps(message["params"]))
        return message

    def open(self, address: str, width: int = 1200, height: int = 900, *, dark: bool = False) -> None:
        """Open an address in a window of a size; what its scripts ask for may still be on its way."""
        phone = width < 500
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.until("location.protocol !== 'about:' && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page; a promise is waited for."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script: str, accept: Callable[[Any], object] = bool) -> Any:
        """Evaluate an expression until its value is accepted, and give that."""
        end = time.monotonic() + 20
        while True:
            value = self.run(script)
            if accept(value):
                return value
            assert time.monotonic() < end, f"{script} stays {value!r}; the console told {self.told}"
            time.sleep(0.03)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key and let it go."""
        code = KEYS[key]
        of = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        text = {"Enter": "\r", " ": " "}.get(key)
        self.call("Input.dispatchKeyEvent", type="keyDown", **of, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **of)

    def type(self, text: str) -> None:
        """Put a text in where the focus is."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save what is seen, or the whole page, as PNG."""
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))

    def end(self) -> None:
        """End the browser."""
        self._session = None
        with contextlib.suppress(AssertionError, BrokenPipeError):
            self.call("Browser.close")
        self._reading.close()
        self._writing.close()


@contextmanager
def browsing(profile: Path) -> Iterator[Page]:
    """Run a browser for the block; `profile` is a folder that it may fill."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        "--remote-debugging-pipe",
    ]
    # The protocol is on the descriptors 3 and 4, whatever numbers ours have.
    shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", *command],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    page = None
    try:
        page = Page(ours_in, ours_out)
        yield page
    finally:
        if page is not None:
            page.end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
