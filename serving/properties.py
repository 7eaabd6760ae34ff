"""Reads from a config.properties what starting and asking a server depends on."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from torchtowers.handlers.errors import shorten
from torchtowers.serving.errors import ServingError

__all__ = ["Address", "Properties", "read_properties"]

_REST_DEFAULTS = {
    "inference_address": "http://127.0.0.1:8080",
    "management_address": "http://127.0.0.1:8081",
    "metrics_address": "http://127.0.0.1:8082",
}
_GRPC_DEFAULTS = {"grpc_inference": 7070, "grpc_management": 7071}


@dataclass(frozen=True)
class Address:
    """Where one of the server's ports is.

    Args:
        key: The property that sets the port.
        scheme: `http`, `https` or `grpc`.
        host: The address that the server binds.
        port: The port.
    """

    key: str
    scheme: str
    host: str
    port: int

    @property
    def target(self) -> str:
        """Host and port to connect to; a server that binds every interface is asked on the loopback."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL to connect to."""
        return f"{self.scheme}://{self.target}"


@dataclass(frozen=True)
class Properties:
    """The part of a config.properties that matters outside the server.

    Args:
        path: The file.
        values: Every key with its value.
        inference: The inference API.
        management: The management API.
        metrics: The metrics API.
        grpc_inference: gRPC inference.
        grpc_management: gRPC management.
    """

    path: Path
    values: dict[str, str]
    inference: Address
    management: Address
    metrics: Address
    grpc_inference: Address
    grpc_management: Address

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All five, REST first."""
        return (self.inference, self.management, self.metrics, self.grpc_inference, self.grpc_management)

    @property
    def token_authorization(self) -> bool:
        """Whether requests need a token."""
        return self.values.get("disable_token_authorization", "false").lower() != "true"


def read_properties(path: Path) -> Properties:
    """Read a config.properties.

    Raises:
        ServingError: The file is missing, or one of its addresses can't be understood.
    """
    try:
        values = _parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ServingError(f"{path}: no such configuration file; name one with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(f"{path}: can't read the configuration: {error}") from None
    rest = {
        key: _rest_address(path, key, values.get(key, default)) for key, default in _REST_DEFAULTS.items()
    }
    grpc = {key: _grpc_address(path, key, values, default) for key, default in _GRPC_DEFAULTS.items()}
    return Properties(
        path=path.resolve(),
        values=values,
        inference=rest["inference_address"],
        management=rest["management_address"],
        metrics=rest["metrics_address"],
        grpc_inference=grpc["grpc_inference"],
        grpc_management=grpc["grpc_management"],
    )


def _parse(text: str) -> dict[str, str]:
    """Parse Java's format as far as it is used here: comments, `=` or `:`, continued lines, `${ENV}`."""
    joined = re.sub(r"\\\r?\n[ \t]*", "", text)
    values = {}
    for line in joined.splitlines():
        if line.strip() and line.lstrip()[0] not in "#!":
            key, _, value = re.sub(r"\s*[=:]\s*|\s+", "\0", line.strip(), count=1).partition("\0")
            value = re.sub(r"\\(.)", r"\1", value)
            values[key] = re.sub(r"\$\{(\w+)\}", lambda name: os.environ.get(name[1], name[0]), value)
    return values


def _rest_address(path: Path, key: str, value: str) -> Address:
    try:
        parts = urlsplit(value)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        parts, port = urlsplit(""), 0
    if not parts.hostname or not port:
        raise ServingError(f"{path}: {key}: expected http://HOST:PORT, got {shorten(value)}")
    return Address(key, parts.scheme, parts.hostname, port)


def _grpc_address(path: Path, key: str, values: dict[str, str], default: int) -> Address:
    value = values.get(f"{key}_port", str(default))
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise ServingError(f"{path}: {key}_port: expected a port from 1 to 65535, got {shorten(value)}")
    return Address(f"{key}_port", "grpc", values.get(f"{key}_address", "127.0.0.1"), int(value))
