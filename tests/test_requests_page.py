"""The examples and limits of docs/requests.md, asked of the small models by which they are written."""

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.handlers.small import small_recommender
from tests.handlers.small_ranking import small_ranker
from torchtowers.handlers.errors import RequestError
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.request import OPTIONS

PAGE = (Path(__file__).parents[1] / "docs" / "requests.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLES = list(zip(BLOCKS[::2], BLOCKS[1::2], strict=True))


@pytest.mark.parametrize(("request_text", "answer"), EXAMPLES)
def test_an_example_gets_the_answer_that_is_shown(tmp_path: Path, request_text: str, answer: str) -> None:
    body = json.loads(request_text)
    ask: Callable[[Any], Any] = small_recommender(tmp_path / "retrieval").recommend
    if "candidates" in body:
        ask = small_ranker(tmp_path / "ranking").rank
    expected = json.loads(answer)
    if "code" in expected:
        with pytest.raises(RequestError) as caught:
            ask(body)
        assert caught.value.body() == expected
    else:
        assert ask(body) == expected


def test_every_option_and_limit_is_told_with_its_default() -> None:
    assert len(EXAMPLES) >= 8
    for option in OPTIONS:
        assert f"| `{option}` |" in PAGE
    limits = PAGE[PAGE.index("## Limits") :]
    for limit in fields(Limits):
        (line,) = [line for line in limits.splitlines() if f"`{limit.name}`" in line]
        assert str(limit.default) in line.split("|")[2]
