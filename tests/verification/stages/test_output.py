"""What happens to images before they are returned."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import robustbench_fgsm as rf
from robustbench_fgsm.verification.stages.output import on_8_bit_grid
from tests.verification.candidates.family import projected
from tests.verification.conftest import attack, reading_of, wrong_stages


@pytest.mark.parametrize(
    ("output", "cause", "text"),
    [
        (lambda images: (images * 255).round() / 255, "quantised-8bit", "rounded to 8 bits"),
        (lambda images: (images * 255).floor() / 255, "truncated-8bit", "truncated to 8 bits"),
        (lambda images: images.half().float(), "half-precision", "float16"),
        (lambda images: images.bfloat16().float(), "half-precision", "bfloat16"),
        (lambda images: (images * 20).round() / 20, "quantised-8bit", "levels that are 0.05 apart"),
        (lambda images: images.flip(1), "channel-order", "channels are reversed"),
        (lambda images: images.flip(3), "axis-scramble", "mirrored"),
        (lambda images: images.roll(1, 0), "misaligned-images", "the one before"),
        (lambda images: images * 255, "scaled-output", "[0, 255]"),
    ],
    ids=["rounded", "truncated", "half", "bfloat16", "levels", "channels", "mirror", "order", "255"],
)
def test_names_the_output(output: Callable[[Tensor], Tensor], cause: str, text: str) -> None:
    reading = reading_of("output", attack(output=output))
    assert (reading.verdict, reading.cause) == ("wrong", cause)
    assert text in reading.text


def test_two_faults_are_both_read() -> None:
    found = rf.verify(attack(size=lambda epsilon: epsilon / 2, output=lambda images: (images * 255).round() / 255))
    assert wrong_stages(found) == ["size", "output"]
    assert {one.stage: one.cause for one in found.wrong_stages} == {"size": "wrong-epsilon", "output": "quantised-8bit"}


def test_a_perturbation_that_comes_back_is_the_only_fault() -> None:
    def perturbation(right: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda model, x, y, epsilon: right(model, x, y, epsilon) - x

    for right, settings in ((attack(), {}), (projected(), {"method": "pgd"})):
        found = rf.verify(perturbation(right), time_limit=600.0, **settings)  # type: ignore[arg-type]
        assert wrong_stages(found) == ["output"], found.summary
        assert (found.wrong_stages[0].text, found.wrong_stages[0].remedy) == (
            "the perturbation comes back, not the images",
            "return x + perturbation, clipped to [0, 1]",
        )
        assert rf.verify(right, time_limit=600.0, **settings).verdict == "right"  # type: ignore[arg-type]


def test_what_is_no_batch_of_images_is_a_wrong_output() -> None:
    found = rf.verify(attack(output=lambda images: images[:1]))
    assert next(one.text for one in found.wrong_stages if one.stage == "output").startswith("in ")


def test_share_on_the_grid_of_8_bits() -> None:
    levels = torch.arange(256) / 255
    assert on_8_bit_grid(levels) == 1.0
    assert on_8_bit_grid(levels[:-1] + 0.5 / 255) == 0.0
