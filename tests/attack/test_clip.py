"""Clipping to the pixel bounds, and projection into the ball."""

from __future__ import annotations

import math

import pytest
import torch

from robustbench_fgsm.attack.clip import clip, clip_in_place, project


def test_clip_to_numbers() -> None:
    x = torch.tensor([[-0.5, 0.25, 1.5]])
    assert clip(x, (0.0, 1.0)).tolist() == [[0, 0.25, 1]]
    assert x.tolist() == [[-0.5, 0.25, 1.5]]


def test_clip_to_bounds_of_each_pixel() -> None:
    bounds = torch.tensor([[0.0, 0.5, 0.0]]), torch.tensor([[1.0, 1.0, 0.25]])
    assert clip(torch.tensor([[-1.0, 0.0, 1.0]]), bounds).tolist() == [[0, 0.5, 0.25]]


def test_clip_without_bounds() -> None:
    x = torch.tensor([[-5.0, 5.0]])
    assert clip(x, None) is x


def test_clip_in_place() -> None:
    x = torch.tensor([[-0.5, 1.5]])
    assert clip_in_place(x, (0.0, 1.0)) is x
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
