"""Differences between runs on one page are those of a gate, and where there is none, the page says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.evaluations import build_evaluations_page
from robustbench_fgsm.report.pages.ranking import paired_differences
from tests.report.runs import run


def test_differences_match_the_gate(rivals: list[LoadedRun]) -> None:
    found, reasons = paired_differences(rivals)
    assert reasons == []
    for place in (1, 2):
        now, first = rivals[place].directory, rivals[0].directory
        assert now is not None
        assert first is not None
        drops = [drop.pairs for drop in rf.gate(now, first).drops if drop.pairs.label is None and drop.pairs.epsilon]
        own = [difference for difference in found if difference["run"] == place]
        assert [(one["epsilon"], one["value"]) for one in own] == [(drop.epsilon, -drop.drop) for drop in drops]
        for one, before, after in zip(own, rivals[0].document["epsilons"], rivals[place].document["epsilons"], strict=True):
            values = [side["robust_accuracy"]["value"] for side in (after, before)]
            assert one["value"] == pytest.approx(values[0] - values[1])
            assert -1 <= one["low"] <= one["value"] <= one["high"] <= 1
    assert any(one["value"] for one in found)
    assert paired_differences(rivals[:1]) == ([], [])


def test_names_an_unpaired_run(rivals: list[LoadedRun], measured: Callable[..., dict[str, Any]]) -> None:
    other = run(measured(), "another")
    found, reasons = paired_differences([*rivals[:2], other])
    assert {one["run"] for one in found} == {1}
    assert reasons == [
        "another is not paired with run 0: run must be in a directory that --out made, got another without one: keep it with --out"
    ]
    assert reasons[0] in build_evaluations_page([*rivals[:2], other])
