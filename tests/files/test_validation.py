"""A value of a file that does not fit its schema is named in one line."""

from __future__ import annotations

import math
from typing import Annotated

import pytest
from pydantic import Field

from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.files.validation import FileSchema, validate


class Shapes(FileSchema):
    n: Annotated[int, Field(ge=2)]
    mean: float | list[float] | None = None
    size: dict[str, int] | int | None = None


def check(value: object) -> Shapes:
    return validate(Shapes, value, "card.json", ModelError, "write it again")


def test_values_of_a_file_stay_as_they_are() -> None:
    found = check({"n": 3, "mean": [1, 0.5], "unknown": {}})
    assert (found.n, found.mean, found.size) == (3, [1.0, 0.5], None)


@pytest.mark.parametrize(
    ("value", "field", "got"),
    [
        ({}, "n", "none"),
        ({"n": "3"}, "n", "'3'"),
        ({"n": True}, "n", "True"),
        ({"n": 2.0}, "n", "2.0"),
        ({"n": 1}, "n", "1 "),
        ({"n": 3, "mean": "x"}, "mean", "'x'"),
        ({"n": 3, "mean": math.nan}, "mean", "nan"),
        ({"n": 3, "size": {"height": "tall"}}, "size.height", "'tall'"),
        ({"n": 3, "size": {"a\n\x1b": "tall"}}, r"size\.a\\n\\x1b", "'tall'"),
        (["n"], "content", r"\['n'\]"),
        ({"n": "long" * 100}, "n", "'longlong"),
    ],
)
def test_names_the_field(value: object, field: str, got: str) -> None:
    with pytest.raises(ModelError, match=rf"^card\.json must have a valid {field}, got {got}.*: write it again$") as said:
        check(value)
    assert "\n" not in str(said.value)
    assert len(str(said.value)) < 250
