"""Images for the comparison tests."""

from __future__ import annotations

import pytest

import robustbench_fgsm as rf


@pytest.fixture(scope="module")
def data() -> rf.Dataset:
    return rf.load_data("fashion-mnist", limit=300)
