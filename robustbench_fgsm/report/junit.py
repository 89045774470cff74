"""Verdict of any document as JUnit XML, which continuous integration shows as tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.printable_text import printable_document
from robustbench_fgsm.report.documents.gate import decrease_label, drop_label
from robustbench_fgsm.report.summarize import summarize
from robustbench_fgsm.report.tables.text import rate_text

Outcome = Literal["passed", "failure", "error"]


@dataclass(frozen=True)
class VerdictCase:
    """One part of a verdict: its name, `failure` if it says no, `error` if it could not be measured, and the reason."""

    name: str
    outcome: Outcome
    text: str = ""


def junit_xml(document: Document) -> str:
    """Return the verdict of a document as JUnit XML: a test fails if, and only if, the exit code is not 0."""
    document = printable_document(document)
    kind = document["schema"].removeprefix("rfgsm.").partition("/")[0]
    cases = [VerdictCase("valid", "error" if document["invalid_reasons"] else "passed", "\n".join(document["invalid_reasons"]))]
    cases += _CASES[kind](document) if kind in _CASES else ()
    if document["exit_code"] and all(case.outcome == "passed" for case in cases):
        cases.append(VerdictCase("verdict", "failure", summarize(document).verdict))
    counts = {f"{outcome}s": str(sum(case.outcome == outcome for case in cases)) for outcome in ("failure", "error")}
    totals = {"tests": str(len(cases)), **counts, "time": f"{document['seconds']['total']:.3f}"}
    root = ET.Element("testsuites", {"name": "rfgsm", **totals})
    suite = ET.SubElement(root, "testsuite", {"name": f"rfgsm {kind}", **totals})
    for case in cases:
        element = ET.SubElement(suite, "testcase", {"classname": f"rfgsm.{kind}", "name": case.name, "time": "0"})
        if case.outcome != "passed":
            ET.SubElement(element, case.outcome, {"message": case.text.partition("\n")[0]}).text = case.text
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _failed(name: str, failed: bool, text: str) -> VerdictCase:
    return VerdictCase(name, "failure" if failed else "passed", text if failed else "")


def _evaluation_cases(document: Document) -> Iterator[VerdictCase]:
    for gate in document.get("gates", []):
        text = f"{gate['name'].replace('_', ' ')} is {gate['threshold']:g}, got {gate['value']}, {gate['gradient']} gradient"
        yield _failed(f"{gate['name'].replace('_', ' ')} {gate['threshold']:g}", not gate["passed"], text)


def _gate_cases(document: Document) -> Iterator[VerdictCase]:
    allowed, shift = f"{100 * document['max_drop']:g} % of the images", f"{255 * document['max_decrease']:g}/255"
    for drop in document["drops"] if document["on"] in ("accuracy", "both") else ():
        before, now = (rate_text(drop[key]) for key in ("baseline_accuracy", "accuracy"))
        images = f"{drop['lost']} of {drop['n']} images lost, {drop['gained']} gained"
        text = f"{before} % right before, {now} % now: {images}; allowed: {allowed}"
        yield _failed(f"accuracy: {drop_label(drop)}", _test_fails(document, drop), text)
    for test in document["decreases"] if document["on"] in ("distance", "both") else ():
        text = f"{test['closer']} of {test['compared']} images are closer, {test['farther']} are farther; allowed: {shift}"
        yield _failed(f"distance: {decrease_label(test)}", _test_fails(document, test), text)


def _test_fails(document: Document, test: Document) -> bool:
    return bool(test["exceeds"] or (document["require_evidence"] and not test["within"]))


def _verification_cases(document: Document) -> Iterator[VerdictCase]:
    for stage in document["stages"]:
        outcome: Outcome = {"ok": "passed", "wrong": "failure"}.get(stage["verdict"], "error")  # type: ignore[assignment]
        text = "\n".join(filter(None, [stage["text"], stage["cause"], stage["remedy"]]))
        yield VerdictCase(stage["stage"], outcome, "" if outcome == "passed" else text)
    for limitation in document["limitations"]:
        yield VerdictCase(limitation["text"], "error", f"{limitation['text']}\n{limitation['remedy']}")
    for one in document["harmless"] if document["strict"] else ():
        yield _failed(one["cause"], not one["evidence"].startswith("it is expected"), one["evidence"])


def _comparison_cases(document: Document) -> Iterator[VerdictCase]:
    for side in [*document["references"], *([document["candidate"]] if document["candidate"] else [])]:
        yield _failed(f"agrees with {side['name']}", side["verdict"] != "agree", "\n".join(side["reasons"]))


def _check_cases(document: Document) -> Iterator[VerdictCase]:
    for one in document["mismatches"]:
        yield _failed(one["where"], True, f"expected {one['expected']}, found {one['found']}")


_CASES = {
    "evaluation": _evaluation_cases,
    "gate": _gate_cases,
    "verification": _verification_cases,
    "comparison": _comparison_cases,
    "attack-check": _check_cases,
}
