"""Requests for a part of the images."""

from __future__ import annotations

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.data.sample_request import SampleRequest


@pytest.mark.parametrize(
    ("limit", "sample", "message"),
    [
        (0, "auto", "limit must be an integer >= 1"),
        (3, 3, "exclude each other"),
        (None, "first", "pass --limit N"),
        (3, "frist", "did you mean first"),
        (None, "0", "sample must be an integer >= 1"),
    ],
)
def test_rejects_requests_that_clash(limit: int | None, sample: int | str, message: str) -> None:
    with pytest.raises(rf.SettingError, match=message):
        SampleRequest.parse(limit, sample)


def test_a_number_is_short_for_a_random_sample() -> None:
    assert SampleRequest.parse(None, "30") == SampleRequest(30, "random", 30)
    assert SampleRequest.parse(None, 30, stratified=True) == SampleRequest(30, "stratified", 30)
