"""Specs of data."""

from __future__ import annotations

import pytest

from robustbench_fgsm.data.load import SOURCES, load_data
from robustbench_fgsm.errors import DataError, SettingError


@pytest.mark.parametrize("name", SOURCES)
def test_every_name_loads(name: str) -> None:
    assert load_data(name).name == name


def test_a_limit() -> None:
    assert len(load_data("fashion-mnist", limit=7)) == 7
    with pytest.raises(SettingError, match="limit must be at least 1"):
        load_data("fashion-mnist", limit=0)


@pytest.mark.parametrize(
    ("name", "remedy"), [("fashion_mnist", r"did you mean fashion-mnist\?"), ("nosuch", "choose from .*fashion-mnist")]
)
def test_an_unknown_name_is_refused_with_a_remedy(name: str, remedy: str) -> None:
    with pytest.raises(DataError, match=f"`rfgsm list data`, got '{name}': {remedy}"):
        load_data(name)
