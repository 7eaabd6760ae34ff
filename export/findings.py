"""What is wrong with an archive: a name to look for, the member, and what to do."""

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Args:
        name: The check's, such as `shadowed-module`.
        member: The archive's member; empty where it is the archive itself.
        text: What is wrong and what to do.
        kind: `error`, or `warning` for what works and is likely not meant.
    """

    name: str
    member: str
    text: str
    kind: str = "error"
