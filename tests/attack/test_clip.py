"""Clipping to the pixel bounds, and projection into the ball."""

from __future__ import annotations

import math

import pytest
import torch

from robustbench_fgsm.attack.clip import clip, clip_in_place, feature_tensor, pixel_tolerance, project, uniform_bounds
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.feature_values import FeatureValues, parse_feature_values
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds


def test_clip_to_numbers() -> None:
    x = torch.tensor([[-0.5, 0.25, 1.5]])
    assert clip(x, PIXEL_BOUNDS).tolist() == [[0, 0.25, 1]]
    assert x.tolist() == [[-0.5, 0.25, 1.5]]


def test_clip_to_bounds_of_each_pixel() -> None:
    bounds = torch.tensor([[0.0, 0.5, 0.0]]), torch.tensor([[1.0, 1.0, 0.25]])
    assert clip(torch.tensor([[-1.0, 0.0, 1.0]]), bounds).tolist() == [[0, 0.5, 0.25]]


def test_clip_without_bounds() -> None:
    x = torch.tensor([[-5.0, 5.0]])
    assert clip(x, None) is x


def test_clip_in_place() -> None:
    x = torch.tensor([[-0.5, 1.5]])
    assert clip_in_place(x, PIXEL_BOUNDS) is x
    assert x.tolist() == [[0, 1]]


def test_project_linf() -> None:
    offset = torch.tensor([[0.5, -0.125, -0.5]])
    assert project(offset, torch.tensor(0.25), math.inf).tolist() == [[0.25, -0.125, -0.25]]


@pytest.mark.parametrize(("norm", "expected"), [(2, [[0.6, 0.8], [0.3, 0.4]]), (1, [[3 / 7, 4 / 7], [0.3, 0.4]])])
def test_project_scales_into_the_ball(norm: float, expected: list[list[float]]) -> None:
    offset = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    assert torch.allclose(project(offset, torch.tensor(1.0), norm), torch.tensor(expected))


def test_project_keeps_zero() -> None:
    assert project(torch.zeros(2, 3), torch.tensor(0.1), 2).tolist() == [[0, 0, 0]] * 2


def test_clip_to_bounds_of_each_feature() -> None:
    bounds = Bounds((0.0, -1.0), (1.0, 5.0))
    assert clip(torch.tensor([[-9.0, -9.0], [9.0, 9.0]]), bounds).tolist() == [[0, -1], [1, 5]]


@pytest.mark.parametrize(
    ("values", "image_shape", "expected"),
    [
        (2.0, (3, 4, 5), ()),
        ((1.0, 2.0, 3.0), (3,), (3,)),
        ((1.0, 2.0, 3.0), (3, 4, 5), (3, 1, 1)),
        ((1.0, 2.0, 3.0), (2, 3), (3,)),
        (((1.0,), (2.0,)), (2, 7), (2, 1)),
        (((1.0, 2.0),), (2,), (2,)),
    ],
)
def test_a_vector_is_by_channel_or_else_along_the_last_axis(
    values: FeatureValues, image_shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    found = feature_tensor(values, torch.zeros(6, *image_shape), "bounds")
    assert found.shape == expected
    assert found.expand(image_shape).shape == image_shape


def test_a_vector_that_fits_two_axes_is_refused_and_the_named_shapes_are_taken() -> None:
    x, vector = torch.zeros(2, 3, 4, 3), torch.tensor([1.0, 2.0, 3.0])
    with pytest.raises(SettingError, match=r"pass an array of shape \(3, 1, 1\) or \(1, 1, 3\)"):
        feature_tensor((1.0, 2.0, 3.0), x, "bounds")
    for shape in ((3, 1, 1), (1, 1, 3)):
        values = parse_feature_values("bounds", vector.reshape(shape), "")
        assert torch.equal(feature_tensor(values, x, "bounds"), vector.reshape(shape))


def test_numbers_of_other_features_are_refused() -> None:
    with pytest.raises(SettingError, match="one number for each of the 4 features"):
        feature_tensor((1.0, 2.0), torch.zeros(3, 4), "bounds")


def test_project_divides_by_the_scale() -> None:
    offset, scale = torch.tensor([[6.0, 0.4, 0.0]]), torch.tensor([2.0, 0.1, 0.0])  # 3 and 4 in units of the scale
    assert torch.allclose(project(offset, torch.tensor(1.0), 2, scale), offset / 5)
    assert torch.allclose(project(offset, torch.tensor(1.0), math.inf, scale), torch.tensor([[2.0, 0.1, 0.0]]))


def test_tolerance_is_a_share_of_each_range_and_at_least_one_unit_of_its_bounds() -> None:
    x = torch.zeros(1, 3)
    assert pixel_tolerance(Bounds(0.0, 255.0), x) == 1e-6
    found = pixel_tolerance(Bounds((0.0, 0.0, 4096.0), (1e-3, 4000.0, 4096.5)), x)
    assert torch.allclose(torch.as_tensor(found), torch.tensor([1e-9, 4e-3, 4096.5 * 2.0**-23]))


def test_bounds_in_two_numbers() -> None:
    tensors = torch.zeros(2), torch.tensor([1.0, 7.0])
    assert uniform_bounds(Bounds((0.0, 1.0), (2.0, 9.0))) == uniform_bounds((tensors[0], tensors[1] + 1)) == (0.0, 8.0)
    assert uniform_bounds(PIXEL_BOUNDS) is PIXEL_BOUNDS
