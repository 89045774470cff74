"""What became of a candidate, as text that reads well at 80 columns, from the document that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document


def render_verification(document: Document) -> RenderableType:
    """The whole of an `rfgsm.verification/1` document."""
    candidate = document["candidate"]
    return Group(
        Text(f"{candidate['name']}, style {candidate['style']}{', strict' if document['strict'] else ''}"),
        Padding(_cases_table(document), (1, 0, 0, 0)),
        *_styled_closing(document),
    )


def _cases_table(document: Document) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("case", no_wrap=True, max_width=18)
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    for case in document["cases"]:
        passed = case["passed"]
        word = Text("pass", style="green") if passed else Text("FAIL", style="bold red")
        table.add_row(Text(case["name"]), word, Text(case["about"] if passed else case["detail"]))
    return table


def _styled_closing(document: Document) -> Iterator[Text]:
    passed = sum(case["passed"] for case in document["cases"])
    wrong = document["verdict"] == "wrong"
    yield Text("")
    yield Text(
        f"{document['verdict'].upper()}: {passed} of {len(document['cases'])} cases pass.",
        style="bold red" if wrong else "bold green",
    )
    for finding in document["diagnosis"]:
        yield Text(f"{finding['cause']}", style="bold red")
        yield Text(f"  {finding['evidence']}.\n  Remedy: {finding['remedy']}.")
    for warning in document["warnings"]:
        yield Text(f"Warning: {warning['cause']}: {warning['evidence']}.", style="yellow")
