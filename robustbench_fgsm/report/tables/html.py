"""A summary as HTML for a notebook, in the colours of the notebook's theme, without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from robustbench_fgsm.report.tables.sheet import Sheet, Summary, cell_text, is_text_column
from robustbench_fgsm.report.tables.terminal import STYLES

DARK = "--rfgsm-green: #4ac26b; --rfgsm-yellow: #d4a72c; --rfgsm-red: #ff8182"
LIGHT = "--rfgsm-green: #116329; --rfgsm-yellow: #7d4e00; --rfgsm-red: #a40e26"
STYLE = f"""<style>
.rfgsm-result {{ {LIGHT}; overflow-x: auto }}
@media (prefers-color-scheme: dark) {{ .rfgsm-result {{ {DARK} }} }}
[data-jp-theme-light="false"] .rfgsm-result, .vscode-dark .rfgsm-result {{ {DARK} }}
[data-jp-theme-light="true"] .rfgsm-result, .vscode-light .rfgsm-result {{ {LIGHT} }}
.rfgsm-result, .rfgsm-result table {{ color: var(--jp-content-font-color1, inherit) }}
.rfgsm-result p {{ margin: 0.4em 0; max-width: 60em }}
.rfgsm-result table {{ border-collapse: collapse; margin: 0.6em 0; font-variant-numeric: tabular-nums }}
.rfgsm-result caption {{ text-align: left; font-weight: bold; padding-bottom: 0.2em; white-space: nowrap }}
.rfgsm-result th, .rfgsm-result td {{ text-align: right; padding: 0.15em 0.6em }}
.rfgsm-result th {{ border-bottom: 1px solid; white-space: pre-line; vertical-align: bottom }}
.rfgsm-result .text {{ text-align: left }}
.rfgsm-result .green {{ color: var(--rfgsm-green) }}
.rfgsm-result .yellow {{ color: var(--rfgsm-yellow) }}
.rfgsm-result .red {{ color: var(--rfgsm-red) }}
</style>"""
"""Text has the colour of the notebook. The colours of words have a contrast of 4.5 at least, on white and on #1e1e1e."""


def summary_to_html(summary: Summary) -> str:
    """Return a summary as one `div`: what makes the result invalid stands above its tables too, and there is no chart."""
    return f'<div class="rfgsm-result">{STYLE}{"".join(_blocks(summary))}</div>'


def _blocks(summary: Summary) -> Iterator[str]:
    if summary.verdict:
        yield f"<p><strong>{_coloured(summary.verdict)}</strong></p>"
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
        word, colon, rest = line.partition(":")
        yield f"<p><strong>{_coloured(word)}</strong>{colon}{escape(rest)}</p>" if word.isupper() else f"<p>{_coloured(line)}</p>"


def _coloured(text: str) -> str:
    """Return escaped text; its first word has the colour that it has in a terminal."""
    word = text.partition(" ")[0].rstrip(":.")
    if word not in STYLES:
        return escape(text)
    return f'<span class="{STYLES[word].rpartition(" ")[2]}">{escape(word)}</span>{escape(text.removeprefix(word))}'


def sheet_to_html(sheet: Sheet) -> str:
    """Return a sheet as a table with its title as caption, the diagonal of a matrix in bold."""
    kinds = [' class="text"' if is_text_column(sheet, at) else "" for at in range(len(sheet.columns))]
    head = "".join(f'<th scope="col"{kind}>{escape(column)}</th>' for kind, column in zip(kinds, sheet.columns, strict=True))
    rows = []
    for at, row in enumerate(sheet.rows):
        cells = [f"<td{kind}>{_coloured(cell_text(cell))}</td>" for kind, cell in zip(kinds, row, strict=True)]
        if sheet.highlight_diagonal:
            cells[at + 1] = f"<td><strong>{escape(cell_text(row[at + 1]))}</strong></td>"
        rows.append(f"<tr>{''.join(cells)}</tr>")
    caption = f"<caption>{escape(sheet.title)}</caption>" if sheet.title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
