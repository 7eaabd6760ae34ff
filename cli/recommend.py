"""torchtowers recommend: ask a served model."""

import argparse
import json
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, print_json, print_table
from torchtowers.handlers.errors import RequestError, shorten

_EXAMPLES = """
torchtowers recommend movielens '{"user_id": "196"}' -k 5 --fields title
torchtowers recommend movielens '{"user_id": "196", "exclude": ["50"]}' --grpc --json
torchtowers recommend movielens '{"instances": [{"user_id": "196"}, {"user_id": "22"}]}'
torchtowers recommend movielens '{"user_id": "196"}' --filter '{"genres": "Comedy", "year": {"min": 1990}}'
torchtowers recommend movielens '{"user_id": "196"}' --diversity '{"genres": 2}' --min-score 0.3
torchtowers recommend ratings '{"user_id": "196", "candidates": ["50", "181"]}'
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "recommend", "ask a served model over REST or gRPC", _EXAMPLES)
    parser.add_argument("name", help="the model's name")
    parser.add_argument("body", help="the request, a JSON object")
    parser.add_argument("-k", type=int, help="how many items; of a ranking model, the best of the candidates")
    parser.add_argument("--fields", nargs="+", metavar="COLUMN", help="item columns to return, such as title")
    parser.add_argument("--exclude-history", action="store_true", help="leave out what the user has seen")
    parser.add_argument("--exclude", nargs="+", metavar="ITEM", help="leave out these items")
    parser.add_argument("--include", nargs="+", metavar="ITEM", help="only these items")
    parser.add_argument("--filter", metavar="JSON", help='conditions by item column, such as {"year": 1990}')
    parser.add_argument(
        "--min-score", type=float, metavar="SCORE", help="only items with at least this score"
    )
    parser.add_argument(
        "--diversity",
        metavar="JSON",
        help='at most so many items of one value of a column, such as {"genres": 2}',
    )
    parser.add_argument("--grpc", action="store_true", help="ask over gRPC rather than REST")
    parser.add_argument("--version", help="the model's version; by default the server's default one")
    parser.add_argument("--state", type=Path, help="the server's state folder, as for serve start")
    parser.add_argument("--json", action="store_true", help="print the answer as it came")
    parser.set_defaults(run=_recommend)


def _recommend(arguments: argparse.Namespace) -> int:
    from torchtowers.serving import Client

    body = _body(arguments.body)
    options = {
        "k": arguments.k,
        "fields": arguments.fields,
        "exclude_history": arguments.exclude_history or None,
        "exclude": arguments.exclude,
        "include": arguments.include,
        "filter": _option(arguments.filter, "--filter", '{"year": 1990}'),
        "min_score": arguments.min_score,
        "diversity": _option(arguments.diversity, "--diversity", '{"genres": 2}'),
    }
    body.update({name: value for name, value in options.items() if value is not None})
    with Client.from_state(arguments.state) as client:
        answer = client.predict(arguments.name, body, version=arguments.version, grpc=arguments.grpc)
    if arguments.json or "items" not in answer:
        print_json(answer)
        return 0
    columns = answer.get("fields", {})
    rows = [
        [_text(cells[0]), *map(_text, cells[2:]), f"{cells[1]:.4f}"]
        for cells in zip(answer["items"], answer["scores"], *columns.values(), strict=True)
    ]
    print_table(["item", *columns, "score"], rows)
    return 0


def _body(text: str) -> dict[str, Any]:
    return _object(text, "the request", '{"user_id": "196"}')


def _option(text: str | None, what: str, example: str) -> dict[str, Any] | None:
    return None if text is None else _object(text, what, example)


def _object(text: str, what: str, example: str) -> dict[str, Any]:
    try:
        body = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise RequestError(f"{what} is not JSON ({reason}): {shorten(text)}") from error
    if not isinstance(body, dict):
        raise RequestError(f"{what} has to be a JSON object such as {example}, got {shorten(text)}")
    return body


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "" if value is None else str(value)
