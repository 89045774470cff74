"""Ids and stages of the known mistakes."""

from __future__ import annotations

from robustbench_fgsm.variants.catalogue import HARMLESS_IDS, MISTAKE_BY_ID, MISTAKES
from robustbench_fgsm.verification.stage_result import STAGES


def test_ids_are_unique() -> None:
    assert len(MISTAKE_BY_ID) == len(MISTAKES)
    assert MISTAKE_BY_ID.keys() >= HARMLESS_IDS


def test_every_mistake_has_a_stage_of_verify() -> None:
    assert {mistake.stage for mistake in MISTAKES} == set(STAGES)
