"""What is suspicious before the first attack: each finding with its remedy, and none where all is well."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.preflight import PREFLIGHT_IMAGES, evenly_spaced_batch, preflight
from robustbench_fgsm.errors import InputError, ModelError
from robustbench_fgsm.spec import AttackSpec

CLASSES = ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
MEAN, STD = 0.3, 0.2


class Layer(nn.Module):
    """A function as a module."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.function(x)  # type: ignore[operator]
        return result


def linear(*layers: nn.Module) -> rf.TorchClassifier:
    torch.manual_seed(0)
    return rf.wrap(nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 10)), 10)


def labelled_by(classifier: rf.TorchClassifier, n: int = 40, scale: float = 1.0) -> rf.ArrayDataset:
    """Data on which the classifier is always right."""
    torch.manual_seed(1)
    images = torch.rand(n, 1, 4, 4) * scale
    return rf.ArrayDataset("right", images, classifier.predict(images).argmax(1), CLASSES)


def found(classifier: rf.TorchClassifier, data: rf.Dataset) -> list[str]:
    return preflight(classifier, data, AttackSpec())


def test_nothing_where_all_is_well(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    assert found(linear(), labelled_by(linear())) == []
    assert found(classifier, images) == []
    assert preflight(classifier, images, AttackSpec(), strict=True) == []


def test_dropout_that_is_on() -> None:
    restless = linear(Layer(lambda x: nn.functional.dropout(x, 0.5, training=True)))
    (warning,) = (text for text in found(restless, labelled_by(linear())) if "from call to call" in text)
    assert warning.endswith("dropout or another source of chance is on, so switch it off")


class FrozenInTrainMode(nn.BatchNorm2d):
    """Batch norm that uses the batch's statistics whatever mode it is in."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, None, None, training=True)


def test_batch_norm_in_train_mode() -> None:
    (warning,) = (text for text in found(linear(FrozenInTrainMode(1)), labelled_by(linear())) if "beside it" in text)
    assert "batch norm uses the batch's statistics" in warning


@pytest.mark.parametrize("cut", [torch.no_grad()(lambda x: x * 2), lambda x: x.detach(), lambda x: (x * 255).long().float()])
def test_a_gradient_that_does_not_reach_the_images(cut: object) -> None:
    with pytest.raises(ModelError, match=r"must pass a gradient back to its images, .*: look for no_grad, detach") as raised:
        found(linear(Layer(cut)), labelled_by(linear()))
    assert "\n" not in str(raised.value)


def test_labels_of_another_order() -> None:
    data = labelled_by(linear())
    turned = rf.ArrayDataset("turned", data._images, (data.labels + 1) % 10, CLASSES)
    (warning,) = found(linear(), turned)
    assert warning.startswith("clean accuracy is 0 of 32 on the images looked at, below 0.3: look for wrong weights")


def test_few_images_say_nothing_about_accuracy() -> None:
    data = labelled_by(linear(), n=7)
    assert found(linear(), rf.ArrayDataset("turned", data._images, (data.labels + 1) % 10, CLASSES)) == []


def test_normalisation_inside_and_outside() -> None:
    inside = Layer(lambda x: (x - MEAN) / STD)
    torch.manual_seed(0)
    network = nn.Sequential(inside, nn.Flatten(), nn.Linear(16, 10))
    once, twice = rf.wrap(network, 10), rf.wrap(network, 10, mean=0.9, std=0.02)
    data = labelled_by(once)
    assert found(once, data) == []
    (warning,) = found(twice, data)
    assert warning.endswith("and higher without mean and std: the network normalises by itself, so leave them out")


def test_pixels_divided_twice() -> None:
    dark = labelled_by(linear(), scale=1 / 255)
    (warning,) = found(linear(), dark)
    assert warning.endswith("look whether the images were divided by 255 twice")


def test_strict_takes_warnings_for_errors() -> None:
    with pytest.raises(InputError, match="strict takes warnings for errors: all pixels are below"):
        preflight(linear(), labelled_by(linear(), scale=1 / 255), AttackSpec(), strict=True)
    with pytest.raises(InputError, match="strict"):
        rf.evaluate(linear(), labelled_by(linear(), scale=1 / 255), strict=True)


def test_the_images_looked_at_come_from_everywhere() -> None:
    """A folder is sorted by class: its first images would all be of one."""
    ids = evenly_spaced_batch(labelled_by(linear(), n=320)).ids.tolist()
    assert ids == list(range(0, 320, 320 // PREFLIGHT_IMAGES))
