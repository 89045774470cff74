"""Arrays as other programs save them: the names of images and labels, and the data set of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustbench_fgsm.data.sources.arrays import arrays_to_dataset, find_array_keys
from robustbench_fgsm.errors import DataError, SettingError

LABELS = np.array([0, 2, 1])


def test_names_of_arrays() -> None:
    assert find_array_keys(["labels", "images", "x", "y"], None, "f") == ("images", "labels")
    assert find_array_keys(["x_train", "y_train", "x_test", "y_test"], None, "f") == ("x_test", "y_test")
    with pytest.raises(SettingError, match="x_val and y_val"):
        find_array_keys(["x_train", "y_train"], "val", "f")


@pytest.mark.parametrize(
    ("shape", "layout", "found"),
    [
        ((3, 7), None, (3, 7)),
        ((3, 4, 5), None, (3, 1, 4, 5)),
        ((3, 4, 5), "NCL", (3, 4, 5)),
        ((3, 4, 5), "NLC", (3, 5, 4)),
        ((3, 4, 5, 1), None, (3, 1, 4, 5)),
        ((3, 2, 4, 5, 6), "NCDHW", (3, 2, 4, 5, 6)),
        ((3, 4, 5, 6, 3), None, (3, 3, 4, 5, 6)),
    ],
)
def test_layouts(shape: tuple[int, ...], layout: str | None, found: tuple[int, ...]) -> None:
    data = arrays_to_dataset("some", np.random.default_rng(0).random(shape), LABELS, layout, None)
    assert next(iter(data)).images.shape == found
    assert data.classes == ("0", "1", "2")


def test_tensors_have_their_channels_first() -> None:
    images = torch.rand(3, 2, 4, 3)
    assert torch.equal(next(iter(arrays_to_dataset("some", images, LABELS, None, None, ambiguous="NCHW"))).images, images)
    with pytest.raises(DataError, match=r"NCHW and NHWC are possible: pass --layout .in Python, load_data\(..., layout='NCHW'"):
        arrays_to_dataset("some", images, LABELS, None, None)


def test_text_labels_name_the_classes() -> None:
    data = arrays_to_dataset("some", np.zeros((3, 4)), ["dog", "cat", "dog"], None, None)
    assert (data.classes, data.labels.tolist()) == (("cat", "dog"), [1, 0, 1])
