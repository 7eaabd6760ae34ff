from pathlib import Path
from typing import get_args

import polars as pl
import pytest

from torchtowers.data import named
from torchtowers.data.config import DataConfig, SplitConfig
from torchtowers.data.errors import DataError
from torchtowers.data.fetch import DATASETS
from torchtowers.data.named import load_tables


def test_every_place_knows_the_same_data_sets() -> None:
    (names,) = [
        part for part in get_args(DataConfig.model_fields["dataset"].annotation) if part is not type(None)
    ]
    configured = set(get_args(names))
    assert configured == set(DATASETS) == set(named._LOADERS)


def test_parts_in_files_have_the_same_columns(tmp_path: Path) -> None:
    pl.DataFrame({"user_id": ["a"], "item_id": ["x"], "hour": [3]}).write_csv(tmp_path / "train.csv")
    pl.DataFrame({"user_id": ["a"], "item_id": ["x"]}).write_csv(tmp_path / "test.csv")
    split = SplitConfig(kind="files", train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))
    with pytest.raises(DataError, match=r"split\.test: there is no column hour, which the training part has"):
        load_tables(DataConfig(), split, lambda _: None)
