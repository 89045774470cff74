"""GitHub Actions: annotations of a file's lines, the summary of a job, and the badge of a README."""

from __future__ import annotations

import os
from pathlib import Path

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.files.regular_files import append_bytes
from robustbench_fgsm.printable_text import printable_lines
from robustbench_fgsm.report.tables.text import epsilon_text

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
BADGE_COLOURS = {"passed": "brightgreen", "failed": "red"}


def is_github_job() -> bool:
    """Return True in a job of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def error_annotation(message: str, *, file: str = "", line: int | None = None, title: str = "rfgsm") -> str:
    """Return the workflow command that shows an error beside a line of a pull request.

    Args:
        message: text of the error, in one line or several.
        file: path from the root of the repository; empty if the error belongs to no file.
        line: number of the line, from 1.
        title: heading of the annotation.
    """
    properties = {"file": file, "line": "" if line is None else str(line), "title": title}
    given = ",".join(f"{key}={_escape(value, ':,')}" for key, value in properties.items() if value)
    return f"::error {given}::{_escape(message)}"


def _escape(text: str, others: str = "") -> str:
    """Return text with per cent signs, ends of lines and other characters as `%XX`, so that it cannot begin another command."""
    return "".join(f"%{ord(letter):02X}" if letter in f"%\n{others}" else letter for letter in printable_lines(text))


def append_job_summary(markdown: str) -> None:
    """Append Markdown to the summary of the job, if GITHUB_STEP_SUMMARY names its file."""
    if place := os.environ.get(SUMMARY_VARIABLE):
        append_bytes(Path(place), f"{markdown.rstrip()}\n\n".encode())


def gate_badge(document: Document) -> Document:
    """Return a badge in the endpoint format of shields.io: robust accuracy at the largest budget, green if the gate passed.

    document: of schema `rfgsm.gate/1`.
    """
    whole = [drop for drop in document["drops"] if drop["label"] is None and drop["epsilon"] is not None]
    hardest = max(whole, key=lambda drop: float(drop["epsilon"]))
    return {
        "schemaVersion": 1,
        "label": f"accuracy under FGSM, {epsilon_text(hardest['epsilon'])}",
        "message": f"{100 * hardest['accuracy']['value']:.1f} %",
        "color": BADGE_COLOURS[document["verdict"]],
    }
