"""Groups of options as users write them, and every way to get them wrong."""

from __future__ import annotations

import math

import pytest

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.options import MASKING_SAMPLE_SIZE, AttackOptions, CheckOptions, RunOptions, Thresholds, check_batch_size
from robustbench_fgsm.spec import PIXEL_BOUNDS, AttackSpec, Bounds, TargetRule


def test_options_become_one_attack() -> None:
    options = AttackOptions("2,8/255", "2", 0.5, "next", "margin", stable=False, restarts=3, seed=5)
    assert options.to_spec(Bounds(0.0, 255.0)) == AttackSpec(
        (2 / 255, 8 / 255), 2.0, TargetRule("shift", 1), "margin", Bounds(0.0, 255.0), seed=5, restarts=3, epsilon_scale=0.5
    )


def test_one_attack_for_each_different_rule() -> None:
    specs = AttackOptions(targeted=["none", "next", "shift:1", "random"]).to_specs(PIXEL_BOUNDS)
    assert [str(spec.target) for spec in specs] == ["none", "next", "random"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (AttackOptions(epsilon="8"), "did you mean 8/255"),
        (AttackOptions(norm="0.5"), "norm must be"),
        (AttackOptions(targeted="nearest"), "targeted must be one of"),
        (AttackOptions(restarts=-1), "restarts must be an integer >= 0"),
    ],
)
def test_rejects_values_outside_their_domain(options: AttackOptions, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        options.to_specs(PIXEL_BOUNDS)


@pytest.mark.parametrize(
    ("checks", "images"),
    [
        (CheckOptions(), 0),
        (CheckOptions(20), 20),
        (CheckOptions(masking=True), MASKING_SAMPLE_SIZE),
        (CheckOptions(20, masking=True), 20),
    ],
)
def test_images_of_checks_survive_a_manifest(checks: CheckOptions, images: int) -> None:
    assert CheckOptions.from_dict(checks.to_dict()).sample_size == images
    assert CheckOptions.from_dict(None).sample_size == 0


def test_rejects_a_negative_number_of_images() -> None:
    with pytest.raises(SettingError, match="pgd check"):
        CheckOptions(-1)


@pytest.mark.parametrize("share", [-0.1, 1.5, 30, 400, math.nan])
def test_thresholds_are_shares(share: float) -> None:
    with pytest.raises(SettingError, match=r"must be a share in \[0, 1\]") as refused:
        Thresholds(max_asr=share)
    assert ("did you mean 0.3?" in str(refused.value)) == (share == 30)


@pytest.mark.parametrize(("given", "size"), [("auto", 128), ("7", 7), (1, 1), ("0064", 64)])
def test_batch_sizes(given: int | str, size: int) -> None:
    RunOptions(batch_size=given)
    assert check_batch_size(given) == size


@pytest.mark.parametrize("given", ["x", "", "0", 0, -1, "-1", "1.5", "1e3", "²", " 8"])
def test_rejects_other_batch_sizes(given: int | str) -> None:
    with pytest.raises(SettingError, match=r"batch size must be auto or a positive integer, got .*: try 128"):
        RunOptions(batch_size=given)
