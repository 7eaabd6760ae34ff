"""Changes to requests that were good: of their JSON, and of its bytes."""

import json
from copy import deepcopy
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.handlers.small import json_values

__all__ = ["VALUES", "arbitrary_values", "dumped", "mutated", "mutated_bytes"]

NAMES = (
    *("user_id", "item_id", "age", "gender", "history", "hour", "year", "title", "genres"),
    *("k", "exclude", "exclude_history", "include", "filter", "min_score", "diversity", "fields"),
    *("candidates", "parameters", "instances", "inputs", "outputs", "signature_name", "id", "name"),
    *("shape", "datatype", "data", "min", "max", "body", "model_name", "binary_data_output", ""),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 10**4, 10**4 + 1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**400),
    *(0.0, -0.0, 0.5, 1e308, -1e308, 5e-324, 1e39, float("nan"), float("inf"), float("-inf")),
    *("", " ", "u1", "10", "1e400", "NaN", "null", "true", "{}", "[]", '{"genres": "Drama"}', "x" * 300),
    *("\x00", "\n", "\ud800", "\u202e", "\U0001f600", "é", "e\u0301", "__proto__", "../../etc/passwd"),
    *("BYTES", "INT64", "INT32", "FP32", "FP64", "BOOL", "FP16", "items", "scores", "fields.title"),
    *([], {}, [[]], [None], [[1], [2, 3]], {"min": 1}, {"min": 2, "max": 1}, {"": None}, ["10", 10, "10"]),
)
_PIECES = (
    *(b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00", b"\\ud800", b"\\u0000", b"NaN", b"-Infinity"),
    *(b"1e999", b"9" * 5000, b"-0", b"1.", b"01", b"{", b"}", b"[" * 2000, b'{"a":' * 600, b'"', b","),
    *(b"/*", b"'", b"=", b"&", b"%", b"\r\n", b'"user_id": "u2", ', b'"k": 3, ', b'"instances": [], '),
)


def arbitrary_values(count: int) -> list[Any]:
    """Give so many values of any JSON that hypothesis thinks of; the same in every run."""
    found: list[Any] = []

    @seed(6)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(json_values)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def dumped(value: Any) -> bytes:
    """Write JSON as a careless client does: with NaN in it, and with surrogates that stand alone."""
    return json.dumps(value).encode()


def mutated(random: Random, body: Any, values: Any = VALUES) -> Any:
    """Change up to four places of a body.

    Args:
        random: Chooses them.
        body: Parsed JSON; is left as it is.
        values: What can be put into a place, beside what stands elsewhere in the body.
    """
    body = deepcopy(body)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        places = list(_places(body))
        if not places:
            return random.choice(values)
        of, at = random.choice(places)
        _change(random, of, at, places, values)
    return body


def _places(value: Any) -> Any:
    """Walk over what holds a value, and under which name or number."""
    if isinstance(value, dict | list):
        for at in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, at
            yield from _places(value[at])


def _change(random: Random, of: Any, at: Any, places: Any, values: Any) -> None:
    match random.randrange(8):
        case 0:
            del of[at]
        case 1:
            other, elsewhere = random.choice(places)
            of[at] = deepcopy(other[elsewhere])
        case 2:
            of[at] = [deepcopy(of[at])] * random.choice((1, 2, 3, 40))
        case 3 if isinstance(of, dict):
            of[random.choice(NAMES)] = of.pop(at)
        case 4 if isinstance(of, dict):
            of[random.choice(NAMES)] = deepcopy(random.choice(values))
        case 5 if isinstance(of, list):
            of.insert(at, deepcopy(random.choice(values)))
        case 6 if isinstance(of[at], int | float | str):
            of[at] = _near(random, of[at])
        case _:
            of[at] = deepcopy(random.choice(values))


def _near(random: Random, value: Any) -> Any:
    if isinstance(value, str):
        place = random.randrange(len(value) + 1)
        return value[:place] + random.choice(("", "\x00", "\ud800", "é", "9", '"')) + value[place + 1 :]
    # A float of an integer this long is none.
    return random.choice((value + 1, value - 1, -value, str(value)[:4000] if abs(value) < 1e300 else "?"))


def mutated_bytes(random: Random, content: bytes) -> bytes:
    """Change up to four places of a body's bytes: cut, doubled, overwritten, or with a piece put in."""
    for _ in range(random.choice((1, 1, 2, 4))):
        begin = random.randrange(len(content) + 1)
        end = min(len(content), begin + random.choice((0, 1, 1, 4, 16, 1000)))
        match random.randrange(4):
            case 0:
                content = content[:begin]
            case 1:
                content = content[:end] + content[begin:]
            case 2:
                content = content[:begin] + random.randbytes(end - begin) + content[end:]
            case _:
                content = content[:begin] + random.choice(_PIECES) + content[end:]
    return content
