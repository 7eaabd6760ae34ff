"""torchtowers serve describe: what a served model takes and gives."""

import argparse
import json
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log, print_json, print_table

_EXAMPLES = """
torchtowers serve describe movielens
torchtowers serve describe movielens --openapi --out openapi.json
"""


def add(verbs: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(verbs, "describe", "tell what a served model takes and gives", _EXAMPLES)
    parser.add_argument("name", help="the model's name")
    parser.add_argument("--version", help="the model's version; by default the server's default one")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the JSON Schemas of a row and of its answer")
    form.add_argument("--openapi", action="store_true", help="the OpenAPI document of its routes")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the JSON there")
    parser.set_defaults(run=_describe)
    return parser


def _describe(arguments: argparse.Namespace) -> int:
    from torchtowers.serving import describe

    told = describe(arguments.name, version=arguments.version, state=arguments.state)
    schemas = {name: told[name] for name in ("request", "answer")}
    content = told["openapi"] if arguments.openapi else schemas
    if arguments.out:
        arguments.out.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        log(f"{arguments.out} is written")
    elif arguments.json or arguments.openapi:
        print_json(content)
    else:
        _print_fields(told["request"])
    return 0


def _print_fields(row: dict[str, Any]) -> None:
    rows = [
        [name, "yes" if name in row["required"] else "", _values(schema)]
        for name, schema in row["properties"].items()
    ]
    print_table(["field", "required", "values"], rows, left=(0, 1, 2))


def _values(schema: dict[str, Any]) -> str:
    """Tell a field's values in some words."""
    # Whatever is not required may be null, which is the same as leaving it out.
    words = [" or ".join(kind for kind in schema.get("type", ()) if kind != "null")]
    for name, text in (
        ("minimum", "from"),
        ("maximum", "to"),
        ("maxItems", "at most"),
        ("default", "by default"),
    ):
        if name in schema:
            words.append(f"{text} {json.dumps(schema[name])}")
    choices = schema.get("items", {}).get("enum", ()) or schema.get("properties", ())
    told = [" ".join(word for word in words if word), ", ".join(choices), schema.get("description", "")]
    return "; ".join(part for part in told if part)
