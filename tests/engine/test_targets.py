"""The class that each image is driven to."""

from __future__ import annotations

import pytest
import torch

from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.targets import least_likely_class, targets_for
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.spec import TargetRule

CLASSES = ("cat", "dog", "emu")
BATCH = Batch(torch.zeros(6, 1, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([5, 3, 8, 1, 9, 2]))


def aims(rule: str, batch: Batch = BATCH, seed: int = 0) -> list[int]:
    found = targets_for(batch, TargetRule.parse(rule), CLASSES, seed)
    assert isinstance(found, torch.Tensor)
    return found.tolist()


def test_rules() -> None:
    assert aims("none") == BATCH.labels.tolist()
    assert aims("next") == [1, 2, 0, 1, 2, 0]
    assert aims("shift:2") == [2, 0, 1, 2, 0, 1]
    assert aims("shift:-1") == aims("shift:2") == aims(f"shift:{3 * 10**30 + 2}")
    assert aims("class:emu") == [2] * 6


def test_random_depends_on_seed_and_id() -> None:
    whole = aims("random")
    assert all(aim != label for aim, label in zip(whole, BATCH.labels.tolist(), strict=True))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert aims("random", BATCH.at(order)) == [whole[i] for i in order]
    assert any(aims("random", seed=seed) != whole for seed in range(1, 5))


def test_random_is_uniform() -> None:
    many = Batch(torch.zeros(3000, 1, 1, 1), torch.zeros(3000, dtype=torch.int64), torch.arange(3000))
    assert 1400 < aims("random", many).count(1) < 1600  # 1500 expected, 27 the standard deviation


def test_least_likely_comes_from_outputs() -> None:
    assert targets_for(BATCH, TargetRule.parse("least-likely"), CLASSES, 0) is least_likely_class
    assert least_likely_class(torch.tensor([[0.3, -1.0, 2.0]])).tolist() == [1]


@pytest.mark.parametrize(("rule", "message"), [("class:dig", "did you mean dog"), ("shift:3", "multiple of the 3 classes")])
def test_rejects_invalid_targets(rule: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        aims(rule)


def test_random_needs_another_class() -> None:
    with pytest.raises(SettingError, match="at least 2 classes, got 1"):
        targets_for(BATCH, TargetRule.parse("random"), ("only",), 0)
