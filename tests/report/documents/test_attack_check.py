"""Summary of a check of saved adversarial images."""

from __future__ import annotations

from typing import Any

from tests.report.printed import printed

ATTACK = {"norm": "inf", "epsilon": 8 / 255, "targeted": "none", "loss": "ce", "stable": False, "restarts": 0}
DOCUMENT: dict[str, Any] = {
    "schema": "rfgsm.attack-check/1",
    "model": {"spec": "mlp300", "weights": "standard"},
    "data": {"spec": "fashion-mnist", "n": 64},
    "attack": ATTACK,
    "replay": {"n": 10, "images_equal": 9, "pixels": 7840, "pixels_differing": 4, "predictions_agree": 10},
    "shards": {"intact": 1, "count": 2},
    "mismatches": [{"where": "shard 1", "expected": "a", "found": "b"}],
    "warnings": ["another version"],
    "verdict": "not verified",
}


def test_shows_the_findings() -> None:
    assert printed(DOCUMENT, width=200).splitlines() == [
        "mlp300 (standard) on 64 images of fashion-mnist",
        "FGSM, norm inf, epsilon 8/255, targeted none, loss ce",
        "Whole shards: 1 of 2.",
        "Crafted again: 9 of 10 images are equal to the last bit, 4 of 7,840 pixels differ, 10 of 10 predictions agree.",
        "Warning: another version",
        "Mismatch: shard 1: expected a, found b",
        "NOT VERIFIED.",
    ]


def test_hash_check_crafts_no_image() -> None:
    assert "No image was crafted again." in printed(DOCUMENT | {"replay": {"n": 0}})
