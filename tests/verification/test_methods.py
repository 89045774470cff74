"""What a candidate may claim to be: definitions with defaults, and settings that are checked once."""

from __future__ import annotations

import math
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.options import METHOD_NAMES
from robustbench_fgsm.verification.methods import DEFINITIONS, FGSM, parse_method


def test_the_options_name_all_definitions() -> None:
    assert tuple(DEFINITIONS) == METHOD_NAMES


@pytest.mark.parametrize(
    ("name", "steps", "share", "start"),
    [
        ("fgsm", 1, 1.0, "image"),
        ("fgm", 1, 1.0, "image"),
        ("r+fgsm", 1, 0.5, "signs"),
        ("fgsm-rs", 1, 1.25, "ball"),
        ("bim", 10, 0.1, "image"),
        ("pgd", 10, 0.25, "image"),
        ("mi-fgsm", 10, 0.1, "image"),
    ],
)
def test_defaults_are_those_of_the_papers(name: str, steps: int, share: float, start: str) -> None:
    method = parse_method(name)
    assert (method.steps, method.is_share, str(method.start)) == (steps, True, start)
    assert method.step_size == pytest.approx(share)


def test_defaults_are_those_of_our_own_attacks() -> None:
    from robustbench_fgsm.attack.iterated import DEFAULT_STEPS, PGD_STEP_FACTOR

    assert all(parse_method(name).steps == DEFAULT_STEPS for name in ("bim", "pgd", "mi-fgsm"))
    assert parse_method("pgd", steps=40).step_size == pytest.approx(PGD_STEP_FACTOR / 40)


def test_a_step_size_with_a_slash_is_in_the_units_of_the_pixels() -> None:
    share, pixels = parse_method("pgd", step_size="0.25"), parse_method("pgd", step_size="2/255")
    assert [share.size_at(0.04), share.size_at(0.08)] == pytest.approx([0.01, 0.02])
    assert pixels.size_at(0.04) == pixels.size_at(0.08) == pytest.approx(2 / 255)
    assert pixels.to_dict()["step_size_unit"] == "pixels"


def test_a_random_start_is_in_the_ball() -> None:
    assert parse_method("pgd", start=True).start == "ball"
    assert parse_method("pgd", "2", 7, "1/5", start=True).about == "pgd in L2, 7 steps of 0.2, random start"
    assert parse_method("fgm").norm == 2.0
    assert FGSM.norm == math.inf


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"method": "pdg"}, "did you mean pgd"),
        ({"method": "fgsm", "norm": "2"}, "try --method fgm"),
        ({"method": "bim", "norm": "1"}, "must be inf or 2, got 1"),
        ({"method": "fgm", "steps": 3}, "pass --method bim or pgd"),
        ({"method": "pgd", "steps": 0}, "steps must be an integer >= 1"),
        ({"method": "bim", "random_start": True}, "pass --method pgd"),
        ({"method": "pgd", "step_size": "2/0"}, "step size must be a share of epsilon such as 0.25"),
        ({"method": "fgsm", "step_size": "0.5"}, "it is epsilon"),
        ({"method": "fgsm", "random_start": True}, "pass --method fgsm-rs"),
        ({"method": "r+fgsm", "step_size": "1"}, "share of epsilon below 1, the rest is the random step, got 1: pass 0.5"),
        ({"method": "r+fgsm", "step_size": "2/255"}, "share of epsilon below 1, the rest is the random step, got 2/255: pass 0.5"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(rf.SettingError, match=text):
        rf.verify(lambda model, x, y, epsilon: x, **settings)
