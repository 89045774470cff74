"""A table as LaTeX, for a paper; it needs the package booktabs."""

from __future__ import annotations

import re

from robustbench_fgsm.report.tables.sheet import Cell, Sheet, Summary, cell_text, is_text_column

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "ε": r"$\varepsilon$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
SPECIAL_CHARACTERS = re.compile("|".join(map(re.escape, SPECIAL)))


def summary_to_latex(summary: Summary) -> str:
    """Return the tables of a summary as LaTeX, with its sentences as comments."""
    sentences = [*summary.heading, *(line for section in summary.sections for line in section.sentences)]
    comments = [*sentences, *summary.closing, *([summary.verdict] if summary.verdict else [])]
    lines = "\n".join(f"% {' '.join(line.split())}" for line in comments if line.strip())
    return "\n\n".join(filter(None, [*map(sheet_to_latex, summary.sheets), lines]))


def sheet_to_latex(sheet: Sheet) -> str:
    """Return a sheet as a `table`: text to the left, numbers to the right, the title as its caption."""
    columns = "".join("l" if is_text_column(sheet, index) else "r" for index in range(len(sheet.columns)))
    rows = [_row([*sheet.columns]), r"\midrule", *(_row(list(row)) for row in sheet.rows)]
    caption = [rf"\caption{{{escape_latex(sheet.title)}}}"] if sheet.title else []
    body = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *rows, r"\bottomrule", r"\end{tabular}"]
    return "\n".join([r"\begin{table}", r"\centering", *caption, *body, r"\end{table}"])


def _row(cells: list[Cell]) -> str:
    words = " & ".join(escape_latex(cell_text(cell)) for cell in cells)
    return ("{}" if words.startswith(("[", "*")) else "") + words + r" \\"  # else an argument of the command above


def escape_latex(words: str) -> str:
    """Return text on one line that LaTeX prints as it is."""
    return SPECIAL_CHARACTERS.sub(lambda found: SPECIAL[found[0]], " ".join(words.split()))
