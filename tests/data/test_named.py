from typing import get_args

from torchtowers.data import named
from torchtowers.data.config import DataConfig
from torchtowers.data.fetch import DATASETS


def test_every_place_knows_the_same_data_sets() -> None:
    (names,) = [
        part for part in get_args(DataConfig.model_fields["dataset"].annotation) if part is not type(None)
    ]
    configured = set(get_args(names))
    assert configured == set(DATASETS) == set(named._LOADERS)
