import polars as pl
import pytest
from pydantic import TypeAdapter

from torchtowers.data.column_types import checked_column
from torchtowers.data.errors import DataError
from torchtowers.data.feature_config import FeatureConfig

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
