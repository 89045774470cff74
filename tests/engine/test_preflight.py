"""Test the errors and warnings before the first attack."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.subset import Subset
from robustbench_fgsm.engine.preflight import PREFLIGHT_IMAGES, check_images, evenly_spaced_batch, preflight
from robustbench_fgsm.errors import DataError, InputError, ModelError, SettingError
from robustbench_fgsm.spec import AttackSpec, TargetRule

CLASSES = ("cat", "dog")
TEN_CLASSES = tuple("abcdefghij")
MEAN, STD = 0.3, 0.2


def data(images: Tensor | None = None, classes: tuple[str, ...] = CLASSES) -> rf.ArrayDataset:
    pixels = torch.rand(3, 1, 2, 2) if images is None else images
    return rf.ArrayDataset("pets", pixels, torch.zeros(len(pixels), dtype=torch.int64), classes)


def classifier(*layers: nn.Module, num_classes: int = 2, classes: tuple[str, ...] | None = CLASSES) -> rf.TorchClassifier:
    return rf.wrap(nn.Sequential(*layers or (nn.Flatten(), nn.Linear(4, 2))), num_classes, classes=classes)


def test_fitting_data_give_no_warning() -> None:
    assert preflight(classifier(), data(), AttackSpec()) == []
    assert preflight(classifier(classes=None), data(), AttackSpec()) == []


def test_no_images() -> None:
    with pytest.raises(DataError, match="at least one image, got none in pets"):
        preflight(classifier(), data(torch.rand(0, 1, 2, 2)), AttackSpec())


def test_another_number_of_classes() -> None:
    with pytest.raises(DataError, match="the model's 2 classes, got 3 in pets"):
        preflight(classifier(), data(classes=("cat", "dog", "cow")), AttackSpec())


def test_another_order_of_classes() -> None:
    with pytest.raises(DataError, match="in its order, got 'dog' where the model has 'cat'"):
        preflight(classifier(), data(classes=("dog", "cat")), AttackSpec())


@pytest.mark.parametrize(
    ("pixel", "found"), [(1.5, r"\[0, 1\], got \[0, 1.5\]: pass bounds"), (255.0, "pass images / 255"), (-0.1, r"got \[-0.1, 0\]")]
)
def test_pixels_outside_the_bounds(pixel: float, found: str) -> None:
    images = torch.zeros(3, 1, 2, 2)
    images[0, 0, 0, 0] = pixel
    with pytest.raises(DataError, match=found):
        preflight(classifier(), data(images), AttackSpec())


@pytest.mark.parametrize("pixel", [math.nan, math.inf])
def test_nonfinite_pixels(pixel: float) -> None:
    with pytest.raises(DataError, match=f"got .*{pixel}.*: fix or leave out images with values that are not finite"):
        preflight(classifier(), data(torch.full((3, 1, 2, 2), pixel)), AttackSpec())


def test_images_of_a_wrong_shape() -> None:
    with pytest.raises(ModelError, match=r"accept images of shape \(3, 2, 2\), it raised RuntimeError"):
        preflight(classifier(), data(torch.rand(3, 3, 2, 2)), AttackSpec())


def test_wrong_number_of_outputs() -> None:
    with pytest.raises(ModelError, match=r"return logits \(3, 2\) for 3 images, got \(3, 5\)"):
        preflight(classifier(nn.Flatten(), nn.Linear(4, 5)), data(), AttackSpec())


def test_outputs_are_a_tensor() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(ModelError, match=r"return logits \(3, 2\) for 3 images, got tuple with \[0\]"):
        preflight(classifier(Pair()), data(), AttackSpec())


@pytest.mark.parametrize("rule", ["class:cow", "shift:2"])
def test_unknown_target(rule: str) -> None:
    with pytest.raises(SettingError, match="targeted"):
        preflight(classifier(), data(), AttackSpec(target=TargetRule.parse(rule)))


def test_an_unknown_loss() -> None:
    with pytest.raises(SettingError, match="nosuch"):
        preflight(classifier(), data(), AttackSpec(loss="nosuch"))


@pytest.mark.parametrize("labels", [[0, 2], [-1, 0]])
def test_labels_out_of_range(labels: list[int]) -> None:
    batch = rf.Batch(torch.rand(2, 1, 2, 2), torch.tensor(labels), torch.arange(2))
    expected = f"labels must lie in [0, 2), got {min(labels)} to {max(labels)}"
    with pytest.raises(DataError, match=re.escape(expected)):
        check_images(batch, classifier())


@pytest.mark.parametrize(("pixel", "problem"), [(1.5, "got [0, 1.5]"), (float("nan"), "fix or leave out")])
def test_names_the_first_wrong_image(pixel: float, problem: str) -> None:
    images = torch.zeros(3, 1, 2, 2)
    images[1:, 0, 1, 1] = pixel
    batch = rf.Batch(images, torch.tensor([0, 1, 0]), torch.tensor([40, 41, 42]))
    with pytest.raises(DataError, match=re.escape(problem) + r".* \(first of them: image 41\)$"):
        check_images(batch, classifier())


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
    """Return data on which the classifier is always right."""
    torch.manual_seed(1)
    images = torch.rand(n, 1, 4, 4) * scale
    return rf.ArrayDataset("right", images, classifier.predict(images).argmax(1), TEN_CLASSES)


def shifted_labels(data: rf.ArrayDataset) -> rf.ArrayDataset:
    """Return the data with labels on which the classifier is always wrong."""
    batch = next(data.batches(0, len(data), len(data)))
    return rf.ArrayDataset("shifted", batch.images, (batch.labels + 1) % 10, TEN_CLASSES)


def warnings_of(classifier: rf.TorchClassifier, data: rf.Dataset) -> list[str]:
    return preflight(classifier, data, AttackSpec())


def test_no_warning_if_all_is_well(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    assert warnings_of(linear(), labelled_by(linear())) == []
    assert warnings_of(classifier, images) == []
    assert preflight(classifier, images, AttackSpec(), strict=True) == []


def test_active_dropout() -> None:
    restless = linear(Layer(lambda x: nn.functional.dropout(x, 0.5, training=True)))
    (warning,) = (text for text in warnings_of(restless, labelled_by(linear())) if "from call to call" in text)
    assert warning.endswith("dropout or another source of chance is on, so switch it off")


class FrozenInTrainMode(nn.BatchNorm2d):
    """Batch norm that uses the batch's statistics whatever mode it is in."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, None, None, training=True)


def test_batch_norm_in_train_mode() -> None:
    (warning,) = (text for text in warnings_of(linear(FrozenInTrainMode(1)), labelled_by(linear())) if "beside it" in text)
    assert "batch norm uses the batch's statistics" in warning


@pytest.mark.parametrize("cut", [torch.no_grad()(lambda x: x * 2), lambda x: x.detach(), lambda x: (x * 255).long().float()])
def test_cut_gradient(cut: object) -> None:
    with pytest.raises(ModelError, match=r"must pass a gradient back to its images, .*: look for no_grad, detach") as raised:
        warnings_of(linear(Layer(cut)), labelled_by(linear()))
    assert "\n" not in str(raised.value)


class ClampWithoutLimits(torch.autograd.Function):
    """Clamp to [0, 1], without a gradient at the limits, as in PyTorch 2.14."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        masked: Tensor = grad * ((x > 0) & (x < 1))
        return masked


def test_a_network_that_clamps_its_images(images: rf.ArrayDataset) -> None:
    torch.manual_seed(0)
    plain, clamped = (
        rf.wrap(nn.Sequential(*layers, nn.Flatten(), nn.Linear(784, 10)), 10) for layers in ((), (Layer(ClampWithoutLimits.apply),))
    )
    assert not any("masking" in text for text in warnings_of(plain, images))
    (warning,) = (text for text in warnings_of(clamped, images) if "masking" in text)
    assert re.fullmatch(
        r"gradient masking: \d\d% of the pixels are at an end of their range, .*: if the network clamps .*", warning
    )


def test_labels_of_another_order() -> None:
    (warning,) = warnings_of(linear(), shifted_labels(labelled_by(linear())))
    assert warning.startswith("clean accuracy is 0 of 32 on the images looked at, below 0.3: look for wrong weights")


def test_few_images_give_no_accuracy() -> None:
    assert warnings_of(linear(), shifted_labels(labelled_by(linear(), n=7))) == []


def test_normalisation_twice() -> None:
    inside = Layer(lambda x: (x - MEAN) / STD)
    torch.manual_seed(0)
    network = nn.Sequential(inside, nn.Flatten(), nn.Linear(16, 10))
    once, twice = rf.wrap(network, 10), rf.wrap(network, 10, mean=0.9, std=0.02)
    data = labelled_by(once)
    assert warnings_of(once, data) == []
    (warning,) = warnings_of(twice, data)
    assert warning.endswith("and higher without mean and std: the network normalises by itself, so leave them out")


def test_pixels_divided_twice() -> None:
    dark = labelled_by(linear(), scale=1 / 255)
    (warning,) = warnings_of(linear(), dark)
    assert warning.endswith("look whether the images were divided by 255 twice")


def test_strict_raises_warnings() -> None:
    with pytest.raises(InputError, match="strict takes warnings for errors: all pixels are below"):
        preflight(linear(), labelled_by(linear(), scale=1 / 255), AttackSpec(), strict=True)
    with pytest.raises(InputError, match="strict"):
        rf.evaluate(linear(), labelled_by(linear(), scale=1 / 255), strict=True)


def test_images_are_spread_over_the_data() -> None:
    """A folder is sorted by class: its first images would all be of one."""
    ids = evenly_spaced_batch(labelled_by(linear(), n=320)).ids.tolist()
    assert ids == list(range(0, 320, 320 // PREFLIGHT_IMAGES))


class SmallGradients(nn.Module):
    """The gradient of one pixel in two is below the smallest number of float16."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.tensor([[scale, -scale] * 2, [-scale, scale] * 2])) for scale in (1.0, 1e-3))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return x[:, :4] @ self.first.T + (x[:, 4:] * 1e-3) @ self.second.T * 1e-3


def test_gradients_that_16_bits_lose() -> None:
    torch.manual_seed(0)
    images = torch.rand(16, 1, 2, 4)
    network = SmallGradients()
    labelled = rf.ArrayDataset("right", images, rf.wrap(network, 2).predict(images).argmax(1), CLASSES)
    for dtype, lost in ((torch.float16, True), (torch.float32, False)):
        found = warnings_of(rf.wrap(copy.deepcopy(network).to(dtype), 2), labelled)
        assert ["computes in float16" in warning and "--dtype float32" in warning for warning in found] == [True] * lost
    assert warnings_of(rf.wrap(copy.deepcopy(network).half(), 2, dtype="float32"), labelled) == []  # as the warning says


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("end", [nn.Softmax(1), nn.LogSoftmax(1)])
def test_probabilities_of_16_bits(end: nn.Module, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 200), end).to(dtype)
    names = tuple(f"c{index}" for index in range(200))
    images = rf.ArrayDataset("noise", torch.rand(20, 1, 2, 2), torch.zeros(20, dtype=torch.int64), names)
    if isinstance(end, nn.Softmax):
        with pytest.raises(ModelError, match="got probabilities"):
            preflight(rf.wrap(network, 200), images, AttackSpec())
    else:
        assert "returns log-probabilities" in preflight(rf.wrap(network, 200), images, AttackSpec())[0]


class Noise(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Other images at each reading, as random transforms give them."""

    classes = ("a", "b")

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.rand(1, 4, 4), index % 2


@pytest.mark.parametrize("nested", [0, 1, 2])
def test_other_images_at_each_reading_are_noticed_below_subsets(nested: int) -> None:
    data = rf.load_data(Noise())
    for _ in range(nested):
        data = Subset(data, range(len(data)))
    with pytest.raises(rf.DataError, match="got other images at the second one"):
        preflight(rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), 2), data, AttackSpec())
