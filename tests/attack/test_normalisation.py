"""Statistics recognised in images, and those of a model against its bounds; each conversion is tried."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.attack.normalisation import (
    KNOWN_NORMALISATIONS,
    Normalisation,
    find_normalisation,
    format_numbers,
    normalisation_warnings,
)
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds

COLOUR = [known for known in KNOWN_NORMALISATIONS if len(known.mean) == 3]
GREY = [known for known in KNOWN_NORMALISATIONS if len(known.mean) == 1]


def levels(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)) / 255


def normalise(x: Tensor, known: Normalisation) -> Tensor:
    mean, std = (torch.tensor(values).view(1, -1, *[1] * (x.ndim - 2)) for values in (known.mean, known.std))
    return (x - mean) / std


@pytest.mark.parametrize("known", KNOWN_NORMALISATIONS, ids=format)
def test_recognises_colour_images(known: Normalisation) -> None:
    assert find_normalisation(normalise(levels(4, 3, 8, 8), known)) == known


@pytest.mark.parametrize("known", GREY, ids=format)
@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (4, 64), (4, 8, 8)])
def test_recognises_grey_images_of_any_shape(known: Normalisation, shape: tuple[int, ...]) -> None:
    assert find_normalisation(normalise(levels(*shape), known)) == known


@pytest.mark.parametrize("known", COLOUR, ids=format)
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_recognises_grey_images_by_one_channel_of_colour_statistics(known: Normalisation, channel: int) -> None:
    one = Normalisation(known.name, (known.mean[channel],), (known.std[channel],))
    found = find_normalisation(normalise(levels(4, 1, 8, 8), one))
    assert found is not None
    assert (found.mean, found.std) == (one.mean, one.std)


@pytest.mark.parametrize("known", [COLOUR[0], *GREY], ids=format)
def test_recognises_interpolated_images(known: Normalisation) -> None:
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    x[:, :, 0, 0], x[:, :, 1, 1] = 0, 1
    assert find_normalisation(normalise(x, known)) == known


@pytest.mark.parametrize(
    "x", [torch.randn(64, 30), torch.randn(8, 3, 16, 16), torch.full((2, 1, 4, 4), torch.nan), torch.rand(0, 3, 4, 4)]
)
def test_other_numbers_are_not_recognised(x: Tensor) -> None:
    assert find_normalisation(x) is None


@pytest.mark.parametrize(
    ("mean", "std", "bounds"),
    [
        ((72.9,), (90.0,), (0.0, 1.0)),
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), (0.0, 1.0)),
        ((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), (0.0, 1.0)),
        ((0.485,), (58.0,), (0.0, 1.0)),
        ((123.675,), (58.0,), (-1.0, 1.0)),
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (0.0, 255.0)),
        ((0.1,), (0.2,), (0.0, 255.0)),
        ((0.5,), (0.5,), (-1.0, 1.0)),
        ((0.1307,), (0.3081,), (-1.0, 1.0)),
    ],
)
def test_statistics_in_other_units_are_named_with_their_conversion(
    mean: tuple[float, ...], std: tuple[float, ...], bounds: tuple[float, float]
) -> None:
    """A model with the named statistics takes images in the bounds as the given ones take images in their own range."""
    (warning,) = normalisation_warnings(mean, std, Bounds(*bounds))
    named = [[float(word) for word in words.split(",")] for words in re.findall(r"(?:mean|std) ([-\d.,e+]*\d)", warning)[2:]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        remedied = rf.wrap(nn.Flatten(), 16 * max(len(named[0]), len(mean)), mean=named[0], std=named[1], bounds=bounds)
    scale = 255 if max(*mean, *std) > 1 else 1
    x = levels(2, len(mean), 4, 4)
    columns = [torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std)]
    if max(mean) <= 1 < max(std):  # the two are in different units
        return
    expected = (x * scale - columns[0]) / columns[1]
    torch.testing.assert_close(remedied.network(bounds[0] + x * (bounds[1] - bounds[0])), expected.flatten(1), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("mean", "std", "bounds"),
    [
        (None, None, (0.0, 1.0)),
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (0.0, 1.0)),
        ((0.5,), (1.0,), (0.0, 1.0)),
        ((123.675,), (58.0,), (0.0, 255.0)),
        ((103.9, 116.8, 123.7), (1.0, 1.0, 1.0), (0.0, 255.0)),
        ((0.0,), (255.0,), (0.0, 255.0)),
        ((0.0,), (1 / 255,), (0.0, 1.0)),
        ((3.0,), (2.0,), (-float("inf"), float("inf"))),
    ],
)
def test_statistics_in_the_units_of_the_bounds_are_taken(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None, bounds: tuple[float, float]
) -> None:
    assert not normalisation_warnings(mean, std, Bounds(*bounds))


def test_a_mean_below_the_bounds_is_named() -> None:
    assert "before it normalises" in normalisation_warnings((-0.03,), (0.458,), PIXEL_BOUNDS)[0]


def test_wrap_and_evaluate_warn() -> None:
    data = rf.load_data("fashion-mnist", limit=32)
    with pytest.warns(RuntimeWarning, match="pass mean 0.285882 and std 0.352941"):
        classifier = rf.wrap(nn.Flatten(), 784, mean=72.9, std=90.0)
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 10)
    assert not any("do not fit" in text for text in rf.evaluate(classifier, data).warnings)
    with pytest.warns(RuntimeWarning, match="do not fit"):
        classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 10, mean=72.9, std=90.0)
    found = [text for text in rf.evaluate(classifier, data).warnings if "mean" in text]
    assert len(found) == 1
    assert "pass mean 0.285882" in found[0]


def test_numbers_are_written_as_the_command_line_takes_them() -> None:
    assert format_numbers((0.485, 1 / 3, 123.675)) == "0.485,0.333333,123.675"


def test_a_mean_outside_the_bounds_of_its_feature_is_named() -> None:
    bounds, std = Bounds((0.0, 10.0), (1.0, 90.0)), (0.5, 20.0)
    assert not normalisation_warnings((0.5, 50.0), std, bounds)
    assert not normalisation_warnings((0.5,), (1.0,), bounds)
    (warning,) = normalisation_warnings((0.5, 500.0), std, bounds)
    assert "the mean of 1 features lies outside their bounds, first 500 of feature 1 in [10, 90]" in warning
