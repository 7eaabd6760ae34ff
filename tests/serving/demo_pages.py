"""The page's application on a real port, for tests that ask it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from torchtowers.serving.demo import make_app
from torchtowers.serving.demo_backend import Backend

__all__ = ["serving"]


@contextmanager
def serving(backend: Backend) -> Iterator[httpx.Client]:
    """Run the application for the block, and give what asks it; the backend is closed afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(make_app(backend), log_level="warning", lifespan="on", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
                assert thread.is_alive()
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()
