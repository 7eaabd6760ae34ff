"""Our side of the archive's benchmark: one build, or the copying and hashing that it is compared with."""

import argparse
import hashlib
from pathlib import Path

from ours.memory import peak_bytes

from torchtowers.export import build_archive


def copy_and_hash(source: Path, target: Path) -> None:
    """Read each file once, hash it and write it elsewhere; nothing is forced to the disk."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            copy, digest = target / path.relative_to(source), hashlib.sha256()
            copy.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as file, copy.open("wb") as out:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
                    out.write(chunk)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds the artifact, and takes the archive")
    parser.add_argument("--copy", action="store_true", help="copy and hash only")
    parser.add_argument("--format", default="default")
    parser.add_argument("--sign", action="store_true")
    options = parser.parse_args()
    if options.copy:
        copy_and_hash(options.folder / "artifact", options.folder / "out")
    else:
        build_archive(
            options.folder / "artifact",
            name="m",
            export_path=options.folder / "out",
            archive_format=options.format,
            sign=options.folder / "key" if options.sign else None,
        )
    print(peak_bytes())
