"""Summary of the verification of a candidate."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.sheet import Section, Sheet, Summary


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.verification/1` document."""
    candidate = document["candidate"]
    heading = f"{candidate['name']}, style {candidate['style']}{', strict' if document['strict'] else ''}"
    rows = tuple(
        (case["name"], "pass" if case["passed"] else "FAIL", case["about"] if case["passed"] else case["detail"])
        for case in document["cases"]
    )
    sheet = Sheet("cases", "", ("case", "", ""), rows, long_text="wrap")
    return Summary((heading,), (Section((sheet,)),), tuple(_closing(document)))


def _closing(document: Document) -> Iterator[str]:
    passed = sum(case["passed"] for case in document["cases"])
    yield f"{document['verdict'].upper()}: {passed} of {len(document['cases'])} cases pass."
    for finding in document["diagnosis"]:
        yield str(finding["cause"])
        yield f"  {finding['evidence']}.\n  Remedy: {finding['remedy']}."
    yield from (f"Warning: {warning['cause']}: {warning['evidence']}." for warning in document["warnings"])
