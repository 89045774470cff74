"""A summary as HTML for a notebook, without styles of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from robustbench_fgsm.report.tables.sheet import Sheet, Summary, cell_text


def summary_to_html(summary: Summary) -> str:
    """Return a summary as one `div`: what makes the result invalid stands above its tables too, and there is no chart."""
    return f"<div>{''.join(_blocks(summary))}</div>"


def _blocks(summary: Summary) -> Iterator[str]:
    if summary.verdict:
        yield f"<p><strong>{escape(summary.verdict)}</strong></p>"
    if summary.heading:
        head, *rest = map(escape, summary.heading)
        yield f"<p>{'<br>'.join([f'<strong>{head}</strong>', *rest])}</p>"
    yield from _paragraphs(line for line in summary.closing if line.startswith("INVALID"))
    for section in summary.sections:
        yield from _paragraphs([section.title])
        yield from map(sheet_to_html, section.sheets)
        yield from _paragraphs(section.sentences)
    yield from _paragraphs(summary.closing)


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Yield a paragraph for each line; the word in capitals with which a line begins is strong."""
    for line in filter(None, lines):
        word, colon, rest = escape(line).partition(":")
        yield f"<p><strong>{word}</strong>{colon}{rest}</p>" if word.isupper() else f"<p>{word}{colon}{rest}</p>"


def sheet_to_html(sheet: Sheet) -> str:
    """Return a sheet as a table with its title as caption, the diagonal of a matrix in bold."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in sheet.columns)
    rows = []
    for at, row in enumerate(sheet.rows):
        cells = [f"<td>{escape(cell_text(cell))}</td>" for cell in row]
        if sheet.highlight_diagonal:
            cells[at + 1] = f"<td><strong>{escape(cell_text(row[at + 1]))}</strong></td>"
        rows.append(f"<tr>{''.join(cells)}</tr>")
    caption = f"<caption>{escape(sheet.title)}</caption>" if sheet.title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
