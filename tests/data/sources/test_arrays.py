"""Arrays as other programs save them: the names of images and labels, and the data set of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.arrays import arrays_to_dataset, find_array_keys
from robustbench_fgsm.errors import DataError, SettingError

LABELS = np.array([0, 2, 1])


def test_names_of_arrays() -> None:
    def found(*names: str, **options: str) -> tuple[str, str]:
        return find_array_keys(dict.fromkeys(names, (3,)), DataOptions(**options), "f")  # type: ignore[arg-type]

    assert found("labels", "images", "x", "y") == ("images", "labels")
    assert found("x_train", "y_train", "x_test", "y_test") == ("x_test", "y_test")
    assert found("x_train", "y_train", "x_val", "y_val") == ("x_val", "y_val")
    assert found("x_train", "y_train") == ("x_train", "y_train")
    assert found("X", "y") == ("X", "y")
    assert found("a", "b", images_key="b", labels_key="a") == ("b", "a")
    assert found("x", "fine", "coarse", labels_key="fine") == ("x", "fine")
    with pytest.raises(SettingError, match="x_val and y_val"):
        found("x_train", "y_train", split="val")
    with pytest.raises(SettingError, match="--labels-key must name an array of f, got 'lables': did you mean labels"):
        found("images", "labels", labels_key="lables")
    with pytest.raises(DataError, match=r"got a \(3,\), b \(3,\): pass --images-key NAME and --labels-key NAME"):
        found("a", "b")


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
    data = arrays_to_dataset("some", np.random.default_rng(0).random(shape), LABELS, DataOptions(layout=layout), None)
    assert next(iter(data)).images.shape == found
    assert data.classes == ("0", "1", "2")


def test_tensors_have_their_channels_first() -> None:
    images = torch.rand(3, 2, 4, 3)
    assert torch.equal(next(iter(arrays_to_dataset("some", images, LABELS, DataOptions(), None, ambiguous="NCHW"))).images, images)
    with pytest.raises(DataError, match=r"NCHW and NHWC are possible: pass --layout .in Python, load_data\(..., layout='NCHW'"):
        arrays_to_dataset("some", images, LABELS, DataOptions(), None)


def test_text_labels_name_the_classes() -> None:
    data = arrays_to_dataset("some", np.zeros((3, 4)), ["dog", "cat", "dog"], DataOptions(), None)
    assert (data.classes, data.labels.tolist()) == (("cat", "dog"), [1, 0, 1])
