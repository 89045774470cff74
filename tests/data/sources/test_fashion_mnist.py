"""The bundled test split of Fashion-MNIST."""

from __future__ import annotations

import pytest
import torch

from robustbench_fgsm.data.dataset import ArrayDataset
from robustbench_fgsm.data.sources.fashion_mnist import TEST_SPLIT_FILE, load_fashion_mnist


@pytest.fixture(scope="module")
def data() -> ArrayDataset:
    return load_fashion_mnist()


def test_number_of_images_and_classes(data: ArrayDataset) -> None:
    (batch,) = data.batches(0, 10_000, 10_000)
    assert (batch.images.shape, batch.images.dtype) == ((10_000, 1, 28, 28), torch.float32)
    assert batch.labels.bincount().tolist() == [1_000] * 10
    assert (float(batch.images.min()), float(batch.images.max())) == (0.0, 1.0)


def test_the_original_order(data: ArrayDataset) -> None:
    """The first labels of t10k-labels-idx1-ubyte, as torchvision and the authors' page give them."""
    assert next(data.batches(0, 10, 10)).labels.tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert data.classes[9] == "Ankle boot"


def test_images_are_independent_of_batches(data: ArrayDataset) -> None:
    (whole,) = data.batches(100, 164, 64)
    parts = list(data.batches(100, 164, 7))
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert torch.equal(torch.cat([part.ids for part in parts]), whole.ids)
    assert whole.ids.tolist() == list(range(100, 164))


def test_fingerprint_is_deterministic(data: ArrayDataset) -> None:
    assert load_fashion_mnist().fingerprint == data.fingerprint
    assert data.head(10).fingerprint == load_fashion_mnist().head(10).fingerprint != data.fingerprint


def test_licence_is_beside_the_images() -> None:
    licence = (TEST_SPLIT_FILE.parent / "LICENSE-fashion-mnist").read_text(encoding="utf-8")
    assert "MIT License" in licence
    assert "Zalando" in licence
