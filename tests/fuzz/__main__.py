"""Fuzzes the handlers with atheris, guided by which of their code an input reaches: `scripts/fuzz`.

An input that breaks a promise is written to `tests/fuzz/findings/`, where the tests run it from then on.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["torchtowers.handlers", "json"]):
    from tests.fuzz.corpus import EXAMPLES, requests
    from tests.fuzz.mutations import VALUES, arbitrary_values, dumped, mutated, mutated_bytes
    from tests.fuzz.target import KINDS, WAYS, Target

FINDINGS = Path(__file__).parent / "findings"


def main() -> None:
    """Run for the time that is asked for; ends with 77 where something was found."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="(60)")
    parser.add_argument("--seed", type=int, default=1, help="(1)")
    parser.add_argument("--corpus", type=Path, help="a folder that inputs of new ways are kept in")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = arguments.corpus or Path(folder) / "corpus"
        corpus.mkdir(exist_ok=True)
        _write_corpus(corpus)
        target = Target(Path(folder))
        values = (*VALUES, *arbitrary_values(200))

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            return _mutate(data, most, random.Random(seed), values)

        atheris.Setup(
            [
                sys.argv[0],
                f"-max_total_time={arguments.seconds}",
                f"-seed={arguments.seed}",
                f"-artifact_prefix={FINDINGS}/",
                "-max_len=20000",
                "-timeout=20",
                "-print_final_stats=1",
                str(corpus),
                str(FINDINGS),
            ],
            lambda data: target.check(data) and None,
            custom_mutator=mutate,
        )
        atheris.Fuzz()


def _write_corpus(folder: Path) -> None:
    ways = len(KINDS) * len(WAYS)
    bodies = [
        *EXAMPLES,
        *(body for kind in KINDS for body in requests(("u1", "new"), ("10", "11", "13"), kind)),
    ]
    for number, body in enumerate(bodies):
        for choice in range(ways):
            (folder / f"{number}-{choice}").write_bytes(bytes([choice]) + dumped(body))
    form = b'user_id=u1\nk=2\nhistory=["10"]\nage=30\nfilter={"year": 1982}'
    (folder / "form").write_bytes(bytes([list(WAYS).index("form") * len(KINDS)]) + form)


def _mutate(data: bytes, most: int, chooser: random.Random, values: tuple[object, ...]) -> bytes:
    """Change the JSON where there is any, three times in four; else the bytes."""
    head, content = data[:1], data[1:]
    if chooser.random() < 0.1:
        head = bytes([chooser.randrange(len(KINDS) * len(WAYS))])
    if chooser.random() < 0.75:
        try:
            return (head + dumped(mutated(chooser, json.loads(content), values)))[:most]
        except (ValueError, RecursionError):
            pass
    if chooser.random() < 0.5:
        return (head + mutated_bytes(chooser, content))[:most]
    return bytes(atheris.Mutate(head + content, most))


main()
