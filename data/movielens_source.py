"""Where MovieLens 100K can be had, and the checksums that it is known by."""

from torchtowers.data.fetch_source import DatasetFile, NamedDataset, WheelSource, ZipSource
from torchtowers.data.movielens_files import INTERACTIONS, ITEMS, USERS, AtomicFile
from torchtowers.data.movielens_grouplens import from_grouplens

__all__ = ["MOVIELENS_100K"]


def _file(file: AtomicFile, sha256: str, *, exact: bool = True) -> DatasetFile:
    return DatasetFile(file.name, sha256, file.header, file.rows, exact)


MOVIELENS_100K = NamedDataset(
    name="movielens-100k",
    files=(
        _file(INTERACTIONS, "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff"),
        # The conversion from GroupLens's zip mends two rows that are defective in RecBole's file.
        _file(ITEMS, "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532", exact=False),
        _file(USERS, "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972"),
    ),
    sources=(
        WheelSource(
            requirement="recbole==1.2.1",
            sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            folder="recbole/dataset_example/ml-100k",
        ),
        ZipSource(
            url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
            sha256="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
            size=4_924_029,
            convert=from_grouplens,
        ),
    ),
    terms=(
        "MovieLens 100K belongs to GroupLens Research, University of Minnesota. Use it for research; pass it "
        "on or use it commercially only with their permission; do not suggest that they endorse your work.\n"
        "Cite: F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. "
        "ACM TiiS 5, 4, Article 19. https://doi.org/10.1145/2827872"
    ),
)
