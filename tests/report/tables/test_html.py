"""In a notebook an evaluation shows the tables of the terminal, and names stay text."""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.report.documents.comparison import agreement_sheet, rates_and_time_sheet
from robustbench_fgsm.report.documents.evaluation import evaluation_sheets, sweep_sheets
from robustbench_fgsm.report.summarize import summarize
from robustbench_fgsm.report.tables.html import summary_to_html
from robustbench_fgsm.report.tables.sheet import cell_text
from robustbench_fgsm.report.tables.text import rate_text
from tests.report.conftest import subject
from tests.report.runs import HOSTILE, hostile


class Cells(HTMLParser):
    """The text of each cell of each table, and every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1] in ("td", "strong") and self.cells:
            self.cells[-1] += data


@pytest.mark.parametrize("epsilons", ["8/255", "4,8/255"])
def test_cells_match_the_tables(epsilons: str) -> None:
    (evaluation,) = rf.sweep(*subject(1.0), epsilons)
    document = evaluation.to_dict()
    shown = Cells(evaluation._repr_html_())
    sheet = list((sweep_sheets if "," in epsilons else evaluation_sheets)(document))
    expected = [cell_text(cell) for sheet in sheet for row in sheet.rows for cell in row]
    assert shown.cells == expected
    assert rate_text(document["epsilons"][0]["robust_accuracy"]) in shown.cells
    assert shown.tags.count("table") == len(sheet)


@pytest.mark.parametrize("wrong", [False, True])
def test_a_comparison_shows_its_tables(wrong: bool) -> None:
    def candidate(model: Any, x: Any, y: Any, epsilon: float) -> Any:
        return rf.fgsm(model, x, y, epsilon * (2 if wrong else 1))

    comparison = rf.compare(*subject(1.0), references=[], candidate=candidate)
    text = comparison._repr_html_()
    document = comparison.to_dict()
    shown = Cells(text)
    found = [agreement_sheet(document), rates_and_time_sheet(document)]
    expected = [cell_text(cell) for sheet in found for row in sheet.rows for cell in row]
    assert shown.cells[: len(expected)] == expected
    assert shown.tags.count("table") == (6 if wrong else 5)
    assert f'<strong><span class="{"red" if wrong else "green"}">{"DISAGREE" if wrong else "AGREE"}</span></strong>:' in text
    assert all(escape(finding["cause"]) in text for finding in document["candidate"]["diagnosis"])
    assert bool(document["candidate"]["diagnosis"]) == wrong


def test_names_stay_text() -> None:
    text = summary_to_html(summarize(hostile(rf.evaluate(*subject(1.0)).to_dict())))
    assert HOSTILE not in text
    assert not {"img", "script"} & set(Cells(text).tags)


def test_plot_draws_the_figure() -> None:
    evaluation = rf.evaluate(*subject(1.0), epsilon="8/255")
    (axes,) = evaluation.plot("per-class").axes
    present = [result for result in evaluation.to_dict()["epsilons"][0]["per_class"] if result["n"]]
    assert len(axes.patches) == len(present)


def test_invalid_reasons_precede_the_tables() -> None:
    text = summary_to_html(summarize(rf.evaluate(*subject(1.0)).to_dict() | {"invalid_reasons": ["no gradient is finite"]}))
    assert text.index('<span class="red">INVALID</span></strong>: no gradient is finite') < text.index("<table>")
