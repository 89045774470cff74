"""Verdicts as JUnit XML: a test fails exactly if the exit code is not 0."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.evaluation.thresholds import apply_thresholds
from robustbench_fgsm.options import Thresholds
from robustbench_fgsm.report.junit import junit_xml
from tests.report.runs import hostile

Document = dict[str, Any]


def parse(document: Document) -> dict[str, list[str]]:
    """Names of the tests by their outcomes, after a check of the counts."""
    root = ET.fromstring(junit_xml(document))
    (suite,) = root
    found: dict[str, list[str]] = {"passed": [], "failure": [], "error": []}
    for case in suite:
        found[case[0].tag if len(case) else "passed"].append(case.attrib["name"])
    assert suite.attrib["tests"] == str(len(suite))
    assert (suite.attrib["failures"], suite.attrib["errors"]) == (str(len(found["failure"])), str(len(found["error"])))
    assert bool(found["failure"] or found["error"]) == bool(document["exit_code"])
    return found


def evaluate(*thresholds: float | None) -> Document:
    document = rf.evaluate(rf.load_classifier("mlp300"), rf.load_data("fashion-mnist", limit=8)).to_dict()
    return apply_thresholds(document, Thresholds(*thresholds))


def test_gates_of_an_evaluation() -> None:
    assert parse(evaluate())["passed"] == ["valid"]
    found = parse(evaluate(1.0, 1.0))
    assert (found["failure"], found["passed"]) == (["min robust accuracy 1"], ["valid", "max asr 1"])


def test_an_invalid_run_is_an_error() -> None:
    assert parse(evaluate() | {"invalid_reasons": ["no image could be read"], "exit_code": 1})["error"] == ["valid"]


def test_a_verdict_without_parts() -> None:
    assert parse(evaluate() | {"exit_code": 1})["failure"] == ["verdict"]


def negated(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return 2 * x - rf.fgsm(model, x, y, epsilon)


@pytest.mark.reference
def test_a_comparison() -> None:
    classifier, images = rf.load_classifier("mlp300"), rf.load_data("fashion-mnist", limit=8)
    found = parse(rf.compare(classifier, images, candidate=negated).to_dict())
    assert (found["passed"], found["failure"]) == (["valid", "agrees with art"], ["agrees with negated"])


def test_a_verification() -> None:
    found = parse(rf.verify(negated, cases=["rows", "size"]).to_dict())
    assert "direction" in found["failure"]
    assert "clip" in found["error"]


def test_hidden_characters_and_markup() -> None:
    document = evaluate()
    assert parse(hostile(document))["passed"] == ["valid"]
    parse(document | {"invalid_reasons": ["\x00 <b> ]]> & \x1b[31m"], "exit_code": 1})
