"""Specs of data, and the options that hold for every source."""

from __future__ import annotations

from typing import Any

import pytest

from robustbench_fgsm.data.dataset import describe_data
from robustbench_fgsm.data.load import load_data
from robustbench_fgsm.errors import SettingError


def test_a_limit() -> None:
    assert len(load_data("fashion-mnist", limit=7)) == 7
    with pytest.raises(SettingError, match="limit must be an integer >= 1"):
        load_data("fashion-mnist", limit=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 3, "sample": 3}, "limit and sample exclude each other"),
        ({"stratified": True}, "got no limit: pass --limit N"),
        ({"sample": "first"}, "got no limit: pass --limit N"),
        ({"limit": 3, "sample": "frist"}, "did you mean first"),
        ({"sample": 0}, "sample must be an integer >= 1"),
        ({"image_size": 0}, "image size must be a positive number"),
        ({"image_size": 8}, "image size is for image files, got fashion-mnist"),
        ({"workers": -1}, "workers must be 0 or more"),
        ({"split": "val"}, "split of fashion-mnist must be one of test, train, got 'val'"),
    ],
)
def test_rejects_invalid_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        load_data("fashion-mnist", **options)


def test_settings_load_the_same_data() -> None:
    first = describe_data(load_data("fashion-mnist", sample=20, seed=4, stratified=True))
    assert first["settings"] == {"sample": 20, "seed": 4, "stratified": True}
    assert describe_data(load_data(first["spec"], **first["settings"])) == first
    assert "settings" not in describe_data(load_data("fashion-mnist", limit=20))
