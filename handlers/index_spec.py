"""What the signature says of an index: its files, and how they are to be read."""

from collections.abc import Iterator
from dataclasses import dataclass

from torchtowers.handlers.json_reader import JsonReader

__all__ = ["IndexSpec"]


@dataclass(frozen=True)
class IndexSpec:
    """The candidates: `size` embeddings of `dimension` values, compared by `metric`.

    Args:
        embeddings: The file of the embeddings, `[size, dimension]`.
        ids: The stem of the files of the ids.
        dtype: What the embeddings are kept as: `float32`, `float16` or `int8`.
        scales: Of int8, the file of what multiplies each row, float32 `[size]`.
        rescoring: The file of the float32 embeddings that the best rows are scored by, if there is one.
    """

    size: int
    dimension: int
    metric: str
    exact: bool
    embeddings: str
    ids: str
    dtype: str = "float32"
    scales: str | None = None
    rescoring: str | None = None

    def arrays(self) -> Iterator[str]:
        """Name the files of arrays."""
        yield from filter(None, (self.embeddings, self.scales, self.rescoring))

    @classmethod
    def from_json(cls, reader: JsonReader) -> "IndexSpec":
        """Read what the signature says of the index.

        Raises:
            SignatureError: It is malformed.
        """
        return cls(
            size=reader.get("size", int),
            dimension=reader.get("dimension", int),
            metric=reader.get("metric", str),
            exact=reader.get("exact", bool),
            embeddings=reader.path("embeddings"),
            ids=reader.path("ids"),
            dtype=reader.get("dtype", str),
            scales=None if reader.optional("scales", str) is None else reader.path("scales"),
            rescoring=None if reader.optional("rescoring", str) is None else reader.path("rescoring"),
        )
