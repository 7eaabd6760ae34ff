"""GroupLens's own ml-100k.zip turned into the three atomic files."""

import re
import zipfile

from torchtowers.data.errors import DataError
from torchtowers.data.movielens_files import INTERACTIONS, ITEMS, USERS

__all__ = ["GENRES", "from_grouplens"]

GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_BEFORE_GENRES = 5
# "(V)" marks a film that came out on video.
_TITLE = re.compile(r"(?P<title>.*?)\s*\((?P<year>\d{4})\)(\s*\(V\))?")


def from_grouplens(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Convert the zip's u.data, u.user and u.item.

    Interactions and users come out byte for byte as in RecBole's files. Items differ from those in the two
    rows that are defective there; a title without a year gets an empty year.

    Args:
        archive: ml-100k.zip, opened.

    Returns:
        The content of `ml-100k.inter`, `ml-100k.user` and `ml-100k.item` by name.

    Raises:
        DataError: A line of u.item has another number of fields.
    """
    lines = archive.read("ml-100k/u.item").decode("latin-1").removesuffix("\n").split("\n")
    items = "".join(f"{_item(number, line)}\n" for number, line in enumerate(lines, start=1))
    return {
        INTERACTIONS.name: INTERACTIONS.header + archive.read("ml-100k/u.data"),
        USERS.name: USERS.header + archive.read("ml-100k/u.user").replace(b"|", b"\t"),
        ITEMS.name: ITEMS.header + items.encode(),
    }


def _item(number: int, line: str) -> str:
    fields = line.split("|")
    expected = _BEFORE_GENRES + len(GENRES)
    if len(fields) != expected:
        raise DataError(f"ml-100k.zip: line {number} of u.item has {len(fields)} fields, {expected} expected")
    title, year = _title_and_year(fields[1].strip())
    flags = zip(GENRES, fields[_BEFORE_GENRES:], strict=True)
    genres = [genre for genre, flag in flags if flag.strip() == "1"]
    return "\t".join((fields[0], title, year, " ".join(genres)))


def _title_and_year(text: str) -> tuple[str, str]:
    match = _TITLE.fullmatch(text)
    return (match["title"], match["year"]) if match else (text, "")
