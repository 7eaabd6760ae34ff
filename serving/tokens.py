"""The keys that TorchServe makes at its start, and their renewal: two of them last an hour."""

import time
from pathlib import Path
from typing import Literal

import httpx

from torchtowers.serving.errors import ServerNotRunningError, ServingError
from torchtowers.serving.state import StateFolder

__all__ = ["Kind", "Tokens", "is_accepted"]

Kind = Literal["inference", "management"]

# The server writes the file in place: a reader may meet it half written.
_READ_TIMES = 20
_READ_PAUSE = 0.05


class Tokens:
    """The keys of the server that a state folder belongs to.

    The server checks against its memory and writes the file for others to read, on every renewal too.

    Args:
        state: The server's state folder.
        management: Address of the management API, which renews keys.
    """

    def __init__(self, state: Path, management: str) -> None:
        self._state = StateFolder(state)
        self._management = management

    def current(self, kind: Kind) -> str:
        """Give the key as the file has it; it may have expired.

        Raises:
            ServerNotRunningError: There is no key file.
        """
        return self._read(kind)

    def renew(self, kind: Kind, refused: str) -> str:
        """Give a key in place of one that the server refused.

        A renewal ends the old key for everyone, so that only one process at a time renews, and only
        when nobody else did.

        Args:
            kind: Which key.
            refused: The key that was refused.

        Raises:
            ServingError: The server does not renew it.
        """
        with self._state.lock("token", wait=True):
            key = self._read(kind)
            return key if key != refused else self._rotate(kind)

    def _rotate(self, kind: Kind) -> str:
        try:
            answer = httpx.get(
                f"{self._management}/token",
                params={"type": kind},
                headers={"Authorization": f"Bearer {self._read('API')}"},
                trust_env=False,
            )
        except httpx.TransportError as error:
            raise ServerNotRunningError(f"no server answers at {self._management} ({error})") from None
        if answer.status_code != 200:
            raise ServingError(
                f"the server at {self._management} renews no {kind} token (status {answer.status_code}): "
                f"{self._state.key_file} is not its own; stop and start it with `torchtowers serve`"
            )
        return self._read(kind)

    def _read(self, kind: Kind | Literal["API"]) -> str:
        for _ in range(_READ_TIMES):
            try:
                return self._state.read_key(kind)
            except FileNotFoundError:
                break
            except (ValueError, KeyError, TypeError):
                time.sleep(_READ_PAUSE)
        raise ServerNotRunningError(f"{self._state.key_file}: no keys of a running server there")


def is_accepted(address: str, token: str) -> bool:
    """Tell whether the server takes a token, by asking it for something harmless.

    Raises:
        ServerNotRunningError: Nobody answers.
    """
    try:
        answer = httpx.get(address, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    except httpx.TransportError as error:
        raise ServerNotRunningError(f"no server answers at {address} ({error})") from None
    # A refused token is a bad request to TorchServe.
    return answer.status_code != 400
