"""What can go wrong between us and a server.

TowersError
└── ServingError           starting, stopping or asking a server failed
    ├── ServerStartError   TorchServe or one of its workers did not come up; carries its own last error line
    ├── ServerNotRunningError
    └── AnswerError        the server answered with an error: `code`, `type`, `field`
"""

from torchtowers.handlers.errors import TowersError

__all__ = ["AnswerError", "ServerNotRunningError", "ServerStartError", "ServingError"]


class ServingError(TowersError):
    """A server could not be started, stopped or asked."""


class ServerStartError(ServingError):
    """TorchServe, or a worker of it, did not come up."""


class ServerNotRunningError(ServingError):
    """No server runs where one was expected.

    Args:
        what: What was looked for, and where.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: start one with `torchtowers serve start`")


class AnswerError(ServingError):
    """The server answered with an error.

    Args:
        message: The server's own message.
        code: The HTTP status, or its counterpart for gRPC.
        type: The error's type as the server names it.
        field: The field of the request that is to blame, where the server names one.

    Attributes:
        exit_code: Of a command that ends with it: 2 for a request that is the caller's to mend, 1 for a
            server that failed.
    """

    def __init__(self, message: str, *, code: int, type: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.exit_code = 1 if code >= 500 else 2
        self.type = type
