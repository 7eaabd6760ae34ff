"""The three "atomic files" of MovieLens 100K: their names, their typed header lines, how many rows they hold.

The form is RecBole's: UTF-8, tab separated, no quoting, a header line of `name:type` columns.
"""

from dataclasses import dataclass

__all__ = ["FETCH_COMMAND", "INTERACTIONS", "ITEMS", "USERS", "AtomicFile"]

FETCH_COMMAND = "torchtowers data fetch movielens-100k"


@dataclass(frozen=True)
class AtomicFile:
    """What is known of one file beforehand.

    Args:
        name: Its name in the folder.
        columns: Its header line, split.
        rows: How many lines follow the header.
    """

    name: str
    columns: tuple[str, ...]
    rows: int

    @property
    def header(self) -> bytes:
        """The first line, with its end of line."""
        return "\t".join(self.columns).encode() + b"\n"


INTERACTIONS = AtomicFile(
    "ml-100k.inter", ("user_id:token", "item_id:token", "rating:float", "timestamp:float"), 100_000
)
USERS = AtomicFile(
    "ml-100k.user", ("user_id:token", "age:token", "gender:token", "occupation:token", "zip_code:token"), 943
)
ITEMS = AtomicFile(
    "ml-100k.item", ("item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq"), 1_682
)
