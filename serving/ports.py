"""Finds out before a start whether its ports are free."""

import errno
import socket

from torchtowers.serving.errors import ServingError
from torchtowers.serving.properties import Properties

__all__ = ["require_free_ports"]


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
