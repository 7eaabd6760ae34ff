"""A zip file whose bytes follow from its members' names and content alone, and that can be read as a stream.

Members are stored in the order of their names with one fixed time and fixed rights. They are stored and not
deflated: embeddings hardly shrink, and deflate's output changes with zlib's version.
"""

import zipfile
from collections.abc import Mapping
from typing import IO

from torchtowers.export.members import Member, Moment

__all__ = ["write_zip"]


def write_zip(file: IO[bytes], members: Mapping[str, Member], moment: Moment) -> None:
    """Write all members.

    Args:
        file: Seekable. A stream's reader needs sizes before the content, so zipfile goes back to write them.
        members: By name in the archive.
        moment: The time of each; UTC.

    Raises:
        ArtifactError: A source can't be read or is not what its sha256 says.
        OSError: The file can't be written.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, member in sorted(members.items()):
            info = zipfile.ZipInfo(name, moment)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            info.file_size = member.size(name)
            with archive.open(info, "w") as target:
                for chunk in member.chunks(name):
                    target.write(chunk)
