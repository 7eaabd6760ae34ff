"""What can go wrong between us and a server.

TowersError
└── ServingError           starting, stopping or asking a server failed
    ├── ServerStartError   TorchServe or one of its workers did not come up; carries its own last error line
    ├── ServerNotRunningError
    └── AnswerError        the server answered with an error: `code`, `type`, `field`
        ├── BadRequestError      the request is the caller's to mend (400 to 499, but for those below)
        ├── ModelNotFoundError   no such model or version (404)
        ├── OverloadedError      no worker has time for it (429, or 503 but for a handler's own failure)
        └── AnswerTimeoutError   no answer in time (504)
"""

from torchtowers.handlers.errors import TowersError

__all__ = [
    "AnswerError",
    "AnswerTimeoutError",
    "BadRequestError",
    "ModelNotFoundError",
    "OverloadedError",
    "ServerNotRunningError",
    "ServerStartError",
    "ServingError",
    "answer_error",
]


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


class BadRequestError(AnswerError):
    """The request is wrong; sending it again brings the same."""


class ModelNotFoundError(AnswerError):
    """The server has no such model, or not that version of it."""


class OverloadedError(AnswerError):
    """The server has no place in its queue, or no worker, for the request now."""


class AnswerTimeoutError(AnswerError):
    """The answer was not there in time."""


def answer_error(message: str, *, code: int, type: str, field: str | None = None) -> AnswerError:
    """Give the error of the class that a status stands for."""
    kind = AnswerError
    if code == 404:
        kind = ModelNotFoundError
    elif code == 504:
        kind = AnswerTimeoutError
    elif code == 429 or (code == 503 and type != "InternalServerException"):
        # With that type, TorchServe tells of a handler that failed.
        kind = OverloadedError
    elif 400 <= code < 500:
        kind = BadRequestError
    return kind(message, code=code, type=type, field=field)
