"""A variant names the choices that differ from the right attack."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from robustbench_fgsm.variants.variant import CHOICES, RIGHT_VARIANT, Variant


def test_defaults_are_the_right_choices() -> None:
    assert asdict(RIGHT_VARIANT) == {stage: next(iter(choices)) for stage, choices in CHOICES.items()}
    assert (RIGHT_VARIANT.name, RIGHT_VARIANT.mistakes) == ("the right attack", ())


@pytest.mark.parametrize(
    ("variant", "name", "mistakes"),
    [
        (Variant(clip="none"), "no-clip", ("no-clip",)),
        (Variant(size="half"), "wrong-epsilon (half)", ("wrong-epsilon",)),
        (Variant(loss="double-softmax"), "double-softmax", ("double-softmax",)),
        (Variant(loss="margin"), "other-loss (margin)", ("other-loss",)),
        (
            Variant(kept="clean where wrong before", size="over 255"),
            "epsilon-scale-255 (over 255) + skips-misclassified",
            ("epsilon-scale-255", "skips-misclassified"),
        ),
    ],
)
def test_mistakes_and_their_choices_are_named(variant: Variant, name: str, mistakes: tuple[str, ...]) -> None:
    assert (variant.name, variant.mistakes) == (name, mistakes)
