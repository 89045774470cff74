"""Results as HTML for a notebook: the tables of the terminal, without styles of their own."""

from __future__ import annotations

from html import escape

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents import comparison as comparison_document
from robustbench_fgsm.report.documents import evaluation as text
from robustbench_fgsm.report.tables import sheet
from robustbench_fgsm.report.tables.sheet import Sheet
from robustbench_fgsm.report.tables.terminal import cell_text


def evaluation_to_html(document: Document) -> str:
    """An `rfgsm.evaluation/1` document, at one budget or several."""
    several = len(document["epsilons"]) > 1
    tables = map(sheet_to_markdown, (text.sweep_sheets if several else text.evaluation_sheets)(document))
    reasons = (f"Invalid: {reason}" for reason in document["invalid_reasons"])
    head, *rest = text.heading(document)
    lines = [f"<strong>{escape(head)}</strong>", *map(escape, rest)]
    sentences = (f"<p>{escape(line)}</p>" for line in (*reasons, *text.closing(document)))
    return f"<div><p>{'<br>'.join(lines)}</p>{''.join(tables)}{''.join(sentences)}</div>"


def comparison_to_html(document: Document) -> str:
    """An `rfgsm.comparison/1` document: agreement, rates and time, and our own matrices."""
    ours, classes = document["ours"], document["data"]["classes"]
    found = [
        comparison_document.agreement_sheet(document),
        comparison_document.rates_and_time_sheet(document),
        sheet.matrix_sheet("Confusion before the attack", ours["clean_confusion"], classes),
        sheet.matrix_sheet("Confusion after it (ours)", ours["confusion"], classes),
    ]
    verdict = f"<p><strong>{escape(document['verdict'].upper())}</strong></p>"
    sentences = (
        f"<p>{escape(line)}</p>"
        for line in (*comparison_document.column_definitions(document), *comparison_document.closing(document))
    )
    return f"<div>{verdict}{''.join(map(sheet_to_markdown, found))}{''.join(sentences)}</div>"


def sheet_to_markdown(sheet: Sheet) -> str:
    """A sheet under its title, the diagonal of a matrix in bold."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in sheet.columns)
    rows = []
    for at, row in enumerate(sheet.rows):
        cells = [f"<td>{escape(cell_text(cell))}</td>" for cell in row]
        if sheet.highlight_diagonal:
            cells[at + 1] = f"<td><strong>{escape(cell_text(row[at + 1]))}</strong></td>"
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f"<table><caption>{escape(sheet.title)}</caption>{body}</table>"
