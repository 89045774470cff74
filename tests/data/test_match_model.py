"""Data in the terms of the classifier that is to see them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import robustbench_fgsm as rf
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.match_model import match_to_classifier
from robustbench_fgsm.data.subset import Subset
from robustbench_fgsm.models.preprocessing import Preprocessing

NAMES = ("cat", "dog", "cow")


@pytest.fixture
def classifier() -> rf.TorchClassifier:
    return rf.wrap(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)), 3, classes=NAMES)


def unnamed() -> rf.ArrayDataset:
    return rf.ArrayDataset("unnamed", torch.full((4, 3, 2, 2), 0.5), torch.tensor([0, 1, 1, 0]), ("0", "1"))


def test_unnamed_classes_take_classifier_names(classifier: rf.TorchClassifier) -> None:
    fitted = match_to_classifier(unnamed(), classifier)
    assert (fitted.classes, fitted.fingerprint) == (NAMES, unnamed().fingerprint)
    assert match_to_classifier(fitted, classifier) is fitted


def test_absent_classes_have_no_rate(classifier: rf.TorchClassifier) -> None:
    """A class that the data lack is n/a, never 0 %."""
    found = rf.evaluate(classifier, unnamed()).to_dict()
    last = found["epsilons"][0]["per_class"][2]
    assert (found["data"]["classes"], last["n"], last["robust_accuracy"]["value"]) == (list(NAMES), 0, None)
    assert rf.evaluate(classifier, Subset(unnamed(), [3, 1])).n == 2


def test_named_classes_stay(classifier: rf.TorchClassifier) -> None:
    data = rf.ArrayDataset("named", torch.rand(2, 3, 2, 2), torch.tensor([0, 1]), ("dog", "cat"))
    assert match_to_classifier(data, classifier) is data


def test_image_files_take_the_classifiers_size(folder: Callable[..., Path], classifier: rf.TorchClassifier) -> None:
    classifier.info = replace(classifier.info, preprocessing=Preprocessing.square(4))
    place = folder(("cat", "cow", "dog"))
    for data, side in ((rf.load_data(f"folder:{place}"), 4), (rf.load_data(f"folder:{place}", image_size=6), 6)):
        for some in (data, Subset(data, [5, 1])):
            assert next(match_to_classifier(some, classifier).batches(0, 2, 2)).images.shape == (2, 3, side, side)
    whole = rf.load_data(f"folder:{place}")
    assert isinstance(whole, ImageDataset)
    assert whole.preprocessing is None


BOUNDS = [(0.0, 255.0), (-1.0, 1.0), (-128.0, 127.0), (0.0, 0.5), (-2.1179039, 2.64)]


@pytest.mark.parametrize("bounds", BOUNDS)
def test_8_bit_arrays_are_put_into_the_bounds(bounds: tuple[float, float]) -> None:
    """Level 0 becomes the low bound, level 255 the high one, and no float32 image leaves the bounds."""
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    data = rf.ArrayDataset("levels", levels, torch.tensor([0]), ("a", "b"))
    classifier = rf.wrap(nn.Flatten(), 2, bounds=bounds)
    (batch,) = match_to_classifier(data, classifier)
    low, high = bounds
    torch.testing.assert_close(batch.images, (low + levels.double() / 255 * (high - low)).float())
    assert rf.fgsm(nn.Flatten(), batch.images, batch.labels, 0.0, bounds=bounds).equal(batch.images)
    assert match_to_classifier(data, classifier).fingerprint == data.fingerprint


@pytest.mark.parametrize("bounds", BOUNDS)
def test_image_files_and_their_subsets_are_put_into_the_bounds(folder: Callable[..., Path], bounds: tuple[float, float]) -> None:
    whole = rf.load_data(f"folder:{folder(('cat', 'cow', 'dog'))}")
    (low, high), classifier = bounds, rf.wrap(nn.Flatten(), 3, bounds=bounds)
    for data in (whole, Subset(whole, [5, 1])):
        pixels = next(data.batches(0, 2, 2)).images
        found = next(match_to_classifier(data, classifier).batches(0, 2, 2)).images
        torch.testing.assert_close(found, (low + pixels.double() * (high - low)).float())


def test_floating_point_images_and_infinite_bounds_change_nothing() -> None:
    unbounded = rf.wrap(nn.Flatten(), 2, bounds=(-math.inf, math.inf))
    levels = rf.ArrayDataset("levels", torch.full((1, 1, 2, 2), 255, dtype=torch.uint8), torch.tensor([0]), ("a", "b"))
    assert float(next(iter(match_to_classifier(levels, unbounded))).images.max()) == 1
    pixels = rf.ArrayDataset("pixels", torch.full((1, 1, 2, 2), 0.5), torch.tensor([0]), ("a", "b"))
    assert float(next(iter(match_to_classifier(pixels, rf.wrap(nn.Flatten(), 2, bounds=(0, 255))))).images.max()) == 0.5


class OneChannel(nn.Module):
    """Network that takes nothing but images of one channel, or nothing but signals."""

    def __init__(self, axes: int = 4) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(1, 3, 4) if axes == 4 else nn.Conv1d(4, 3, 4), nn.Flatten(), nn.LazyLinear(3))
        self.axes = axes
        self.layer(torch.zeros(1, 1, 4, 5) if axes == 4 else torch.zeros(1, 4, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != self.axes:
            raise ValueError("another number of axes")
        logits: torch.Tensor = self.layer(x)
        return logits


GREY = torch.rand(6, 1, 4, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


class Pairs:
    """Torch data set of (image, label)."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index], int(LABELS[index])


@pytest.mark.parametrize("form", [lambda images: (images, LABELS), Pairs])
def test_grey_images_saved_as_colour(form: Callable[[torch.Tensor], object]) -> None:
    network = OneChannel()
    found, plain = (rf.evaluate(network, form(images)) for images in (GREY.expand(-1, 3, -1, -1), GREY))
    assert found.tallies[0].robust_accuracy == plain.tallies[0].robust_accuracy
    assert any("the grey model gets one of them" in warning for warning in found.warnings)
    assert not any("the grey model" in warning for warning in plain.warnings)
    coloured = GREY.repeat(1, 3, 1, 1)
    coloured[0, 1] = 0
    with pytest.raises(rf.ModelError):
        rf.evaluate(network, form(coloured))


@pytest.mark.parametrize("form", [lambda images: (images, LABELS), Pairs])
def test_signals_for_a_network_that_takes_no_images(form: Callable[[torch.Tensor], object]) -> None:
    network = OneChannel(axes=3)
    found = rf.evaluate(network, form(GREY[:, 0]))
    assert found.clean_accuracy.count == int((network(GREY[:, 0]).argmax(1) == LABELS).sum())
    assert any("are taken as signals (C, L)" in warning for warning in found.warnings)


def colour_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(24, 3))


def test_grey_images_for_a_colour_network_and_their_remedy() -> None:
    network = colour_network()
    expected = rf.evaluate(network, (GREY.expand(-1, 3, -1, -1), LABELS)).clean_accuracy
    for classifier in (network, rf.wrap(network, 3)):
        with pytest.raises(rf.ModelError, match=r"pass --mean 0,0,0 --std 1,1,1 \(in Python, wrap\(\.\.\., channels=3\)\)"):
            rf.evaluate(classifier, (GREY, LABELS))
    for classifier in (rf.wrap(network, 3, channels=3), rf.wrap(network, 3, mean=(0, 0, 0), std=(1, 1, 1))):
        assert rf.evaluate(classifier, (GREY, LABELS)).clean_accuracy == expected


def test_colour_images_for_a_grey_network_and_their_remedy() -> None:
    colour = torch.rand(6, 3, 4, 5)
    network = OneChannel()
    for classifier in (network, rf.wrap(network, 3)):
        with pytest.raises(rf.ModelError, match="it takes grey images, so convert the images to grey"):
            rf.evaluate(classifier, (colour, LABELS))
    assert rf.evaluate(network, (colour.mean(1, keepdim=True), LABELS)).n == 6


def test_refuses_other_classifiers() -> None:
    with pytest.raises(rf.ModelError, match=r"got 'mlp300': pass rf.load_classifier\('mlp300'\)"):
        rf.evaluate("mlp300", (GREY, LABELS))  # type: ignore[arg-type]
    with pytest.raises(rf.ModelError, match=r"got function: pass a module whose forward"):
        rf.evaluate(lambda x: x, (GREY, LABELS))  # type: ignore[arg-type]
    with pytest.raises(rf.ModelError, match=r"images \(1, 4, 5\): model must return logits \(2, K\)"):
        rf.evaluate(nn.Identity(), (GREY, LABELS))


CALLS: dict[str, Callable[..., object]] = {
    "evaluate": lambda network, data, _: [rf.evaluate(network, data)],
    "sweep": lambda network, data, _: rf.sweep(network, data, [0.1, 0.2]),
    "compare": lambda network, data, _: rf.compare(network, data, 0.1),
    "transfer": lambda network, data, _: rf.transfer([network], [network], data, 0.1),
    "explain": lambda network, data, _: rf.explain(network, data, "50%", 0.1),
    "benchmark": lambda network, data, _: rf.benchmark(
        network, data, [0.1], references=[], levels=["none"], rounds=1, memory=False
    ),
    "save_adversarial": lambda network, data, out: rf.save_adversarial(network, data, out, 0.1),
    "train": lambda network, data, _: rf.train(network, data, epochs=1, batch_size=2, held_out=0),
}


@pytest.mark.parametrize("form", [lambda: (GREY, LABELS), lambda: DataLoader(TensorDataset(GREY, LABELS), shuffle=True)])
@pytest.mark.parametrize("call", CALLS)
def test_every_function_takes_bare_networks_and_data(call: str, form: Callable[[], object], tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(20, 3)).train()
    before = [parameter.clone() for parameter in network.parameters()]
    CALLS[call](network, form(), tmp_path / "out")
    assert network.training
    assert all(torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True))


def test_check_takes_bare_networks_and_data(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(20, 3))
    rf.save_adversarial(network, (GREY, LABELS), tmp_path / "out", 0.1)
    assert rf.check_adversarial(tmp_path / "out", network, (GREY, LABELS)).verified


@pytest.mark.parametrize("form", [lambda labels: (GREY, labels), lambda labels: Labelled(GREY, labels)])
def test_labels_from_one_and_their_remedy(form: Callable[[torch.Tensor], object]) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(20, 3))
    with pytest.raises(rf.DataError, match=r"got (1 to )?3 .*count classes from 1, .*load_data\(\.\.\., labels_from=1\)"):
        rf.evaluate(network, form(LABELS + 1))
    shifted = rf.load_data(form(LABELS + 1), labels_from=1)
    assert rf.evaluate(network, shifted).clean_accuracy.count == rf.evaluate(network, form(LABELS)).clean_accuracy.count
    with pytest.raises(rf.RfgsmError, match=r"choose a model of (8|more) classes"):
        rf.evaluate(network, form(LABELS + 5))
    with pytest.raises(rf.DataError, match="choose a model of 4 classes"):  # labels of named classes cannot count from 1
        rf.evaluate(network, rf.ArrayDataset("named", GREY, LABELS + 1, ("none", "cat", "dog", "cow")))


class Labelled(Pairs):
    """Torch data set with these labels."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        super().__init__(images)
        self.labels = labels

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index], int(self.labels[index])


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")], ids=repr)
def test_a_bare_network_without_memory_is_a_lack_of_resources(error: Exception) -> None:
    class Large(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise error

    with pytest.raises(rf.ResourceError, match=r"memory must hold the network twice and 2 images, got too little .*: use"):
        rf.evaluate(Large(4, 3), (torch.rand(4, 4), torch.arange(4) % 3))
