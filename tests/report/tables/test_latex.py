"""Tables as LaTeX: every character of a name is printed as it is."""

from __future__ import annotations

import pytest

from robustbench_fgsm.report.tables.latex import escape_latex, sheet_to_latex, summary_to_latex
from robustbench_fgsm.report.tables.sheet import Section, Sheet, Summary
from robustbench_fgsm.stats.rate import Rate

SHEET = Sheet("rates", "In per cent", ("class", "n", "rate"), (("a_b & 50%", 4, Rate(1, 4).to_dict()), ("c", 0, None)))


def test_a_table() -> None:
    lines = sheet_to_latex(SHEET).splitlines()
    assert lines[:4] == [r"\begin{table}", r"\centering", r"\caption{In per cent}", r"\begin{tabular}{lrr}"]
    assert r"class & n & rate \\" in lines
    assert r"a\_b \& 50\% & 4 & 25.0 [4.6, 69.9] \\" in lines
    assert lines.count(r"\midrule") == 1
    assert lines[-1] == r"\end{table}"


def test_special_characters() -> None:
    assert escape_latex("\\~^{}$#\n%") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}\{\}\$\# \%"
    assert escape_latex("<|>") == r"\textless{}\textbar{}\textgreater{}"


@pytest.mark.parametrize("name", ["[2cm]", "*"])
def test_no_name_is_an_argument_of_the_command_above(name: str) -> None:
    sheet = Sheet("classes", "", (name, "n"), ((name, 4),))
    assert sheet_to_latex(sheet).splitlines()[3:7] == [r"\toprule", rf"{{}}{name} & n \\", r"\midrule", rf"{{}}{name} & 4 \\"]


def test_sentences_are_comments() -> None:
    text = summary_to_latex(Summary(("model on data",), (Section((SHEET,)),), ("50 % of\nthem",), "AGREE: all."))
    assert text.splitlines()[-3:] == ["% model on data", "% 50 % of them", "% AGREE: all."]
