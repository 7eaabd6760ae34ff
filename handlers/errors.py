"""What can go wrong while an artifact is read or a request is answered.

    TowersError                 one line that says what is wrong, what came and what to do
    ├── ArtifactError           an artifact or archive that can't be trusted or read
    │   ├── SignatureError      its signature.json is missing, malformed or of an unknown version
    │   └── UntrustedError      it is not signed by a key that is trusted here
    ├── RuntimeUnavailableError the archive's runtime is not installed in this interpreter
    └── RequestError            a request that can't be answered: HTTP status `code`
        ├── BodyError           the body is not what a dialect allows (400)
        ├── FieldError          one field of one row is missing or of the wrong kind (400)
        ├── LimitError          more rows, items or bytes than the configured limit (400 or 413)
        └── InternalError       a fault of ours in reading this one request (500)

The other packages hang their own errors below TowersError, each in its own `errors.py`.
"""

import re
import reprlib
from typing import Any

__all__ = [
    "ArtifactError",
    "BodyError",
    "FieldError",
    "InternalError",
    "LimitError",
    "RequestError",
    "RuntimeUnavailableError",
    "SignatureError",
    "TowersError",
    "UntrustedError",
    "shorten",
]

_SHOWN = 80
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")

# Looks at no more than it shows: a value of a request may be nested or long enough to make repr() fail.
_REPR = reprlib.Repr()
_REPR.maxlevel = 4
_REPR.maxdict = _REPR.maxlist = _REPR.maxtuple = _REPR.maxset = _REPR.maxfrozenset = 10
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = _SHOWN


def shorten(value: object) -> str:
    """Show what came in ASCII, cut to 80 characters: an error stays one line and leaks no large payload."""
    if isinstance(value, str):
        text = value[: _SHOWN + 1]
    else:
        try:
            text = _REPR.repr(value)
        except ValueError:  # an integer of more digits than Python writes out
            text = f"a very long {type(value).__name__}"
    text = _CONTROL.sub(" ", text.encode("ascii", "backslashreplace").decode("ascii"))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


class TowersError(Exception):
    """Base of every error that torchtowers raises on purpose; its text is one line for a person."""


class ArtifactError(TowersError):
    """An artifact or archive is incomplete, altered or unreadable."""


class SignatureError(ArtifactError):
    """A signature.json is missing, malformed or of a format version that this code does not know."""


class UntrustedError(ArtifactError):
    """An archive is not signed, or not by a key that is trusted here."""

    # A check that failed.
    exit_code = 1


class RuntimeUnavailableError(TowersError):
    """The runtime that the archive was built for can't be imported here."""


class RequestError(TowersError):
    """A request that can't be answered: the caller's to mend with a code of 4xx, a fault of ours with 5xx.

    Args:
        message: What is wrong, what came and what was expected.
        code: The HTTP status that answers it.
        field: The field of the request that is wrong, such as `instances[1].user_id`.
    """

    code = 400
    type = "bad_request"

    def __init__(self, message: str, *, code: int | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        if code is not None:
            self.code = code

    def body(self) -> dict[str, Any]:
        """Give the answer's JSON: `code`, `type` and `message`, and `field` where one is to blame."""
        answer: dict[str, Any] = {"code": self.code, "type": self.type, "message": str(self)}
        if self.field is not None:
            answer["field"] = self.field
        return answer


class BodyError(RequestError):
    """The body as a whole is not JSON, or not of a known dialect."""

    type = "bad_body"


class FieldError(RequestError):
    """One field is missing or of the wrong kind.

    Args:
        field: Where it stands, such as `user_id` or `instances[1].age`.
        came: The value that came; shown cut to 80 characters.
        expected: What is allowed there.
    """

    type = "bad_field"

    def __init__(self, field: str, came: object, expected: str) -> None:
        super().__init__(f"{field}: expected {expected}, got {shorten(came)}", field=field)

    @classmethod
    def missing(cls, field: str, expected: str) -> "FieldError":
        """Give the error for a field that every row needs and this one lacks."""
        error = cls(field, None, expected)
        error.args = (f"{field}: missing; every row needs {expected}",)
        return error


class LimitError(RequestError):
    """More than the server is configured to answer."""

    type = "limit_exceeded"


class InternalError(RequestError):
    """A fault of ours while one request was read, so that it costs that request and not its batch."""

    code = 500
    type = "internal_error"

    def __init__(self) -> None:
        super().__init__("this request met a fault of the server's; the worker's log holds it")
