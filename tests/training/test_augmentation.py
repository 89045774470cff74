"""Augmentation of training images, parsed from text."""

from __future__ import annotations

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.training.augmentation import parse_augmentation


def test_draws_for_each_image() -> None:
    augment = parse_augmentation("crop:2,flip", (6, 6))
    assert augment is not None
    torch.manual_seed(0)
    images = torch.arange(1.0, 37).reshape(1, 1, 6, 6).repeat(64, 1, 1, 1)
    found = augment(images)
    assert found.shape == images.shape
    assert len({tuple(image.flatten().tolist()) for image in found}) > 20


def test_none_is_no_augmentation() -> None:
    assert parse_augmentation("none", (6, 6)) is None


def test_flip_keeps_or_mirrors_rows() -> None:
    augment = parse_augmentation("flip", (2, 2))
    assert augment is not None
    torch.manual_seed(0)
    rows = {tuple(image.flatten().tolist()) for image in augment(torch.arange(4.0).reshape(1, 1, 2, 2).repeat(64, 1, 1, 1))}
    assert rows == {(0, 1, 2, 3), (1, 0, 3, 2)}


@pytest.mark.parametrize("text", ["", "crop", "crop:0", "crop:-1", "flip:2", "mirror", "crop:6", "crop:1000000000000"])
def test_rejects(text: str) -> None:
    with pytest.raises(rf.SettingError, match="augment must"):
        parse_augmentation(text, (6, 6))
