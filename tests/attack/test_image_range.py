"""Images outside the bounds, or in another scale: each remedy is followed, and the attack then runs without a warning."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.attack.image_range import conversion
from robustbench_fgsm.spec import Bounds

Pair = tuple[float, float]


def levels(*shape: int) -> Tensor:
    found = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0))
    found.view(-1)[:2] = torch.tensor([0, 255])
    return found


def attack(images: Tensor, bounds: Pair, epsilon: float = 0.0) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return rf.fgsm(nn.Flatten(), images, None, epsilon, bounds=bounds)


RANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "0 to 1": lambda images: images / 255,
    "0 to 255": lambda images: images.float(),
    "-1 to 1": lambda images: images / 127.5 - 1,
    "uint8": lambda images: images.byte(),
}


@pytest.mark.parametrize(
    "bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-128.0, 127.0), (0.0, 0.5), (0.0, 1023.0), (0.0, 510.0), (-32768.0, 32767.0)]
)
@pytest.mark.parametrize("name", RANGES)
def test_the_conversion_of_every_message_is_right(name: str, bounds: Pair) -> None:
    """The named expression brings level 0 to the low bound and level 255 to the high one, whatever the images were."""
    images = RANGES[name](levels(8, 1, 4, 4))
    try:
        attack(images, bounds)
        return  # the images are in the units of the bounds, or cannot be told apart from such
    except (rf.DataError, RuntimeWarning) as error:
        message = str(error)
    expression = re.search(r"(?:pass|with) (images.*?)(?:,? (?:or|if) .*)?$", message)
    assert expression, message
    converted = eval(expression[1], {"images": images})
    attack(converted, bounds)
    low, high = bounds
    torch.testing.assert_close(converted, low + levels(8, 1, 4, 4) / 255 * (high - low), rtol=1e-4, atol=1e-4)


def test_rounding_errors_are_cut_off() -> None:
    images = levels(8, 1, 4, 4) / 255 * 1.00001
    with pytest.raises(rf.DataError, match=r"images.clamp\(0, 1\)"):
        attack(images, (0.0, 1.0))
    attack(images.clamp(0, 1), (0.0, 1.0))


@pytest.mark.parametrize(
    ("source", "to", "text"),
    [
        ((0.0, 255.0), (0.0, 1.0), "images / 255"),
        ((0.0, 255.0), (-1.0, 1.0), "images / 127.5 - 1"),
        ((0.0, 1.0), (-1.0, 1.0), "images * 2 - 1"),
        ((-1.0, 1.0), (0.0, 1.0), "images / 2 + 0.5"),
        ((0.0, 255.0), (0.0, 255.0), "images.float()"),
    ],
)
def test_conversions_read_as_usual(source: Pair, to: Pair, text: str) -> None:
    assert conversion(Bounds(*source), Bounds(*to)) == text


@pytest.mark.parametrize(
    "x", [torch.randn(9, 30) * 3, torch.randn(9, 3, 20) * 40, torch.randn(4, 3, 5, 5) * 1e-3 - 2, torch.ones(3, 4) * 1e6]
)
def test_values_of_any_range_get_bounds_that_hold_them(x: Tensor) -> None:
    with pytest.raises(rf.DataError, match="pass bounds") as refused:
        attack(x, (0.0, 1.0))
    low, high = re.findall(r"bounds=\((\S*), (\S*)\)", str(refused.value))[0]
    assert attack(x, (float(low), float(high))).shape == x.shape


def test_a_table_of_integers_is_not_taken_for_images() -> None:
    with pytest.raises(rf.DataError, match="if they are 8-bit images, else pass bounds"):
        attack(torch.tensor([[3.0, 200.0]]), (0.0, 1.0))
    with pytest.raises(rf.DataError, match=r"pass images.float\(\)"):
        attack(torch.tensor([[3, 200]]), (0.0, 1.0))


@pytest.mark.parametrize(
    ("name", "mean", "std"), [("ImageNet's", 0.485, 0.229), ("MNIST's", 0.1307, 0.3081), ("CIFAR-10's", 0.4914, 0.2470)]
)
def test_normalised_images_are_named_and_the_remedy_works(name: str, mean: float, std: float) -> None:
    x = levels(8, 1, 4, 4) / 255
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(rf.DataError, match=f"normalised by {name} mean {mean} and std {std:g}"):
        rf.fgsm(network, (x - mean) / std)
    classifier = rf.wrap(network, 3, mean=mean, std=std)
    torch.testing.assert_close(classifier(x), network((x - mean) / std))
    assert rf.fgsm(classifier, x).shape == x.shape


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite_are_named(value: float) -> None:
    x = torch.rand(4, 1, 2, 2)
    x[1, 0, 0, 0] = value
    with pytest.raises(rf.DataError, match="leave out images with values that are not finite"):
        attack(x, (0.0, 1.0))
    assert attack(x[x.flatten(1).isfinite().all(1)], (0.0, 1.0)).shape == (3, 1, 2, 2)


def test_images_that_may_be_meant_get_no_warning() -> None:
    attack(torch.zeros(2, 1, 4, 4), (0.0, 255.0))
    attack(torch.rand(2, 1, 4, 4), (-1.0, 1.0))
    attack(torch.rand(64, 30), (-1.0, 1.0))
    attack(torch.rand(64, 1, 4, 4), (0.0, 2.0))


@pytest.mark.parametrize(("dtype", "top", "remedy"), [(torch.uint8, 255, "images / 255"), (torch.int64, 65535, "images / 65535")])
def test_integers_are_named_with_their_number_of_bits(dtype: torch.dtype, top: int, remedy: str) -> None:
    images = torch.tensor([0, top // 2, top, 1]).to(dtype).reshape(1, 1, 2, 2)
    with pytest.raises(rf.DataError, match=remedy):
        rf.fgsm(nn.Flatten(), images, torch.zeros(1, dtype=torch.int64))
    rf.fgsm(nn.Flatten(), eval(remedy), torch.zeros(1, dtype=torch.int64))
