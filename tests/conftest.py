"""What tests of several packages share: a bundled classifier and a few bundled images, loaded once and never changed."""

from __future__ import annotations

import os
from collections.abc import Iterator

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):  # before PyTorch: its threads would take turns
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

import pytest
import torch
from hypothesis import settings

import robustbench_fgsm as rf
from robustbench_fgsm.data.sources.fashion_mnist import load_fashion_mnist

settings.register_profile("unhurried", deadline=None)  # other work may be running on this machine
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names with an address in memory, which differ between the processes that share the tests."""
    if changing := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"tests must have one name in every process, got {changing[0]}: give ids")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: several that wait for each other cost more than a few small images do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def images() -> rf.ArrayDataset:
    """The first 256 test images of Fashion-MNIST."""
    return load_fashion_mnist().head(256)


@pytest.fixture(scope="session")
def classifier() -> rf.TorchClassifier:
    """The smallest bundled network."""
    found = rf.load_classifier("mlp300", device="cpu")
    assert isinstance(found, rf.TorchClassifier)
    return found
