"""torchtowers export index: new and changed items into an artifact's index, without the run."""

import argparse
from pathlib import Path
from typing import Any

from torchtowers.cli.console import add_command, log, print_json, print_table

_EXAMPLES = """
torchtowers export index artifacts/movielens --items items.parquet --out artifacts/movielens-today
torchtowers export index artifacts/movielens --items 'new/*.csv.gz' --add --out artifacts/movielens-today
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "export index",
        "embed new and changed items with an artifact's own candidate tower; its run is not needed",
        _EXAMPLES,
    )
    parser.add_argument("artifact", type=Path, metavar="ARTIFACT", help="of a retrieval model")
    parser.add_argument(
        "--items",
        required=True,
        help="Parquet, CSV or TSV, a folder of shards or a pattern, with the columns that training had; "
        "the new index holds exactly these items",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the new artifact, with the same towers; one that is there is replaced",
    )
    parser.add_argument(
        "--add", action="store_true", help="keep also the artifact's items that are not among them"
    )
    parser.add_argument("--json", action="store_true", help="print the counts for machines")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from torchtowers.export.new_index import export_index

    change = export_index(
        arguments.artifact,
        arguments.items,
        arguments.out,
        add=arguments.add,
        show_progress=True,
        log=log,
    )
    if arguments.json:
        print_json(vars(change))
    else:
        counts = {name: count for name, count in vars(change).items() if count}
        print_table(list(counts), [[f"{count:,}" for count in counts.values()]], left=())
    log(f"{arguments.out} has the towers of {arguments.artifact}")
    return 0
