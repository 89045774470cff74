"""An evaluation is described by its settings."""

from __future__ import annotations

from dataclasses import replace

from robustbench_fgsm.options import CheckOptions
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.manifest import RUN_SCHEMA


def test_thresholds_are_no_settings(run: EvaluationRun) -> None:
    other = replace(run, thresholds={"max_asr": 0.5})
    assert other.settings() == run.settings()
    assert other.to_manifest()["asked"] == {"max_asr": 0.5}
    assert run.to_manifest()["schema"] == RUN_SCHEMA


def test_checks_are_settings(run: EvaluationRun) -> None:
    assert replace(run, checks=CheckOptions(pgd=5)).settings()["checks"]["pgd"] == 5
    assert "checks" not in run.settings()


def test_pieces_cover_the_images(run: EvaluationRun) -> None:
    assert [index for number in range(len(run.pieces)) for index in run.pieces.span(number)] == list(range(len(run.data)))
