import polars as pl
import pytest
from pydantic import TypeAdapter

from torchtowers.data.column_types import checked_column
from torchtowers.data.errors import DataError
from torchtowers.data.feature_config import FeatureConfig
from torchtowers.data.feature_fitting import fit_encoders
from torchtowers.handlers.encoders import Vocabulary

READ: TypeAdapter[FeatureConfig] = TypeAdapter(FeatureConfig)


@pytest.mark.parametrize("section", ["user", "item"])
def test_what_is_refused_names_the_key_the_column_and_a_value(section: str) -> None:
    table, number = pl.DataFrame({"price": [None, "cheap"]}), READ.validate_python({"kind": "number"})
    said = f"features.{section}: price is of kind number, which takes numbers; .* String, such as cheap"
    with pytest.raises(DataError, match=said):
        checked_column(table, "price", number, section)
    said = f"features.{section}: there is no column size; the {section}s' table has price: name one of these"
    with pytest.raises(DataError, match=said):
        checked_column(table, "size", number, section)


@pytest.mark.parametrize("dtype", [pl.Null, pl.String, pl.Boolean])
def test_a_column_without_values_may_be_of_any_type(dtype: type[pl.DataType]) -> None:
    table = pl.DataFrame({"x": pl.Series([None, None], dtype=dtype)})
    assert checked_column(table, "x", READ.validate_python({"kind": "number"}), "item").null_count() == 2


VALUES: dict[str, tuple[dict[str, object], object]] = {
    "token": ({}, "a"),
    "hashed_token": ({"buckets": 3}, "a"),
    "unified_token": ({"buckets": 3}, 4),
    "number": ({}, 1.5),
    "buckets": ({"boundaries": (1,)}, 2),
    "boolean": ({}, True),
    "token_list": ({}, ["a"]),
    "words": ({}, "a b"),
    "timestamp": ({}, 1_600_000_000),
    "vector": ({}, [1.0, 2.0]),
}


@pytest.mark.parametrize("kind", VALUES)
def test_an_encoder_takes_the_columns_that_its_feature_takes(kind: str) -> None:
    settings, value = VALUES[kind]
    feature = READ.validate_python({"kind": kind, **settings})
    table = pl.DataFrame({"x": [value, None]})
    (encoder,) = fit_encoders(
        {"x": feature}, table, None, "item_id", {"item_id": Vocabulary(())}, section="item"
    ).values()
    for _, other in VALUES.values():
        column, said = pl.DataFrame({"x": [other]}), set()
        for one in (feature, encoder):
            try:
                checked_column(column, "x", one, "item")
            except DataError as error:
                said.add(str(error).partition(", which takes")[2])
            else:
                said.add("")
        assert len(said) == 1
    assert checked_column(table, "x", encoder, "item").to_list() == table["x"].to_list()
