"""What tests of several packages share: a bundled classifier and a few bundled images, loaded once and never changed."""

from __future__ import annotations

import pytest
from hypothesis import settings

import robustbench_fgsm as rf

settings.register_profile("unhurried", deadline=None)  # other work may be running on this machine
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def images() -> rf.ArrayDataset:
    """The first 256 test images of Fashion-MNIST."""
    return rf.load_data("fashion-mnist", limit=256)


@pytest.fixture(scope="session")
def classifier() -> rf.TorchClassifier:
    """The smallest bundled network."""
    found = rf.load_classifier("mlp300", device="cpu")
    assert isinstance(found, rf.TorchClassifier)
    return found
