"""The choices of each stage: the first one is right, the others are known mistakes, and values by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustbench_fgsm.models.classifier import PixelSpaceNetwork
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID
from robustbench_fgsm.variants.stages import CLIPS, DIRECTIONS, KEPT, LABELS, OUTPUTS, SIZES, STARTS
from robustbench_fgsm.variants.variant import CHOICES

CALL = AttackCall(PixelSpaceNetwork(nn.Flatten(), 0.5, 0.25), torch.full((2, 1, 1, 2), 0.5), torch.tensor([0, 1]), 8 / 255)


@pytest.mark.parametrize("stage", CHOICES)
def test_the_first_choice_is_right(stage: str) -> None:
    first, *others = CHOICES[stage].values()
    assert first.cause is None
    assert {other.cause for other in others} <= MISTAKE_BY_ID.keys()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("given", [0, 2]), ("predicted", [1, 2]), ("least likely", [2, 1]), ("shifted by 1", [1, 0]), ("shifted by -1", [2, 1])],
)
def test_labels_by_hand(name: str, expected: list[int]) -> None:
    outputs = torch.tensor([[1.0, 2.0, 0.0], [1.0, 0.0, 2.0]])
    assert LABELS[name].value(outputs, torch.tensor([0, 2])).tolist() == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sign", [-1.0, 0.0, 1.0, 1.0]),
        ("minus the sign", [1.0, 0.0, -1.0, -1.0]),
        ("away from the target", [1.0, 0.0, -1.0, -1.0]),
        ("sign above 1e-6", [-1.0, 0.0, 1.0, 0.0]),
        ("gradient", [-3.0, 0.0, 4.0, 1e-7]),
        ("tanh", [-0.99505, 0.0, 0.99933, 1e-7]),
        ("L2", [-0.6, 0.0, 0.8, 2e-8]),
        ("L2 by root of pixels", [-1.2, 0.0, 1.6, 4e-8]),
        ("L1", [0.0, 0.0, 1.0, 0.0]),
        ("by largest gradient", [-0.75, 0.0, 1.0, 2.5e-8]),
    ],
)
def test_directions_by_hand(name: str, expected: list[float]) -> None:
    found = DIRECTIONS[name].value(torch.tensor([-3.0, 0.0, 4.0, 1e-7]).view(1, 1, 2, 2))
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        *(("epsilon", 1), ("times std", 0.25), ("over std", 4), ("over 255", 1 / 255), ("times 255", 255), ("half", 0.5)),
        *(("twice", 2), ("five quarters", 1.25), ("always 16/255", 2), ("none", 0)),
    ],
)
def test_sizes_by_hand(name: str, factor: float) -> None:
    assert float(torch.as_tensor(SIZES[name].value(CALL))) == pytest.approx(factor * 8 / 255)


@pytest.mark.parametrize(("name", "low", "high"), [("bounds", 0, 1), ("none", -3, 3), ("normalised", 0.5, 0.75)])
def test_clips_by_hand(name: str, low: float, high: float) -> None:
    clipped = CLIPS[name].value(torch.tensor([-3.0, 3.0]).view(1, 1, 1, 2), CALL)
    assert clipped.flatten().tolist() == pytest.approx([low, high])


@pytest.mark.parametrize(
    ("name", "levels"), [("float32", [0, 100.75, 255]), ("rounded", [0, 101, 255]), ("truncated", [0, 100, 255])]
)
def test_outputs_by_hand(name: str, levels: list[float]) -> None:
    found = OUTPUTS[name].value(torch.tensor([0, 100.75, 255]) / 255) * 255
    assert found.tolist() == pytest.approx(levels, abs=1e-4)


def test_truncation_by_256_keeps_white() -> None:
    assert OUTPUTS["truncated by 256"].value(torch.tensor([0.5, 1.0])).tolist() == pytest.approx([128 / 255, 1.0])


def test_starts_lie_within_one_step() -> None:
    drawn = torch.tensor([-0.7, 0.2])
    starts = {name: start.value(drawn).tolist() for name, start in STARTS.items() if start.value is not None}
    assert starts == {"a random point": drawn.tolist(), "a random half step": [-0.5, 0.5]}


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("all", [False] * 3),
        ("clean where wrong before", [True, False, False]),
        ("clean where it fails", [False, False, True]),
        ("clean where it succeeds", [True, True, False]),
    ],
)
def test_kept_images_by_hand(name: str, clean: list[bool]) -> None:
    before, after = torch.tensor([True, False, False]), torch.tensor([True, True, False])
    found: Tensor = KEPT[name].value(before, after)
    assert found.tolist() == clean
