"""Finds out before a start whether its ports are free, or which ones are."""

import errno
import random
import socket
from contextlib import suppress

from torchtowers.serving.errors import ServingError
from torchtowers.serving.properties import Properties

__all__ = ["free_ports", "require_free_ports"]

# Below those that outgoing connections are given.
_RANGE = range(15000, 32000)


def require_free_ports(properties: Properties) -> None:
    """Make sure that the server can bind all of its ports.

    Raises:
        ServingError: A port is taken or can't be bound; names the port and the property to change.
    """
    for address in properties.addresses:
        reason = _why_not(address.host, address.port)
        if reason:
            raise ServingError(
                f"port {address.port} of {address.host} {reason}: stop what uses it, or set another port "
                f"as {address.key} in {properties.path}"
            )


def free_ports(count: int) -> list[int]:
    """Find ports of the loopback that nobody uses.

    Raises:
        ServingError: There are not so many.
    """
    found: list[int] = []
    for port in random.sample(_RANGE, 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise ServingError(f"no {count} free ports from {_RANGE[0]} to {_RANGE[-1]}")


def _why_not(host: str, port: int) -> str | None:
    """Say why the port can't be bound, or None if it can."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server does it: connections that wait to be forgotten don't hold a port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
            # A bound port that nobody listens on yet would pass the line above.
            probe.listen(1)
    except OSError as error:
        return "is in use" if error.errno == errno.EADDRINUSE else f"can't be bound ({error.strerror})"
    return None
