"""Markdown that another program reads as the tables it was made of."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, LIMITATION_NOTE
from robustbench_fgsm.report.summarize import summarize
from robustbench_fgsm.report.tables.markdown import escape_markdown, sheet_to_markdown, summary_to_markdown
from robustbench_fgsm.report.tables.sheet import Section, Sheet, Summary

Measured = Callable[..., dict[str, Any]]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def tables(text: str) -> list[list[list[str]]]:
    return [[cells(line) for line in block.splitlines()] for block in text.split("\n\n") if block.startswith("|")]


def markdown(document: dict[str, Any]) -> str:
    return summary_to_markdown(summarize(document))


def test_a_table_by_hand() -> None:
    rate = {"value": 0.5, "count": 1, "n": 2, "low": 0.1, "high": 0.9}
    sheet = Sheet("name", "Title", ("", "n", "rate"), (("a|b", 1000, rate), ("c", 2, 7)), highlight_diagonal=True)
    assert sheet_to_markdown(sheet).splitlines() == [
        "Title",
        "",
        "|  | n | rate |",
        "| :-- | --: | --: |",
        r"| a\|b | **1,000** | 50.0 \[10.0, 90.0\] |",
        "| c | 2 | **7** |",
    ]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("T-shirt/top", "T-shirt/top"),
        ("a|b", r"a\|b"),
        ("*a* _b_ `c`", r"\*a\* \_b\_ \`c\`"),
        ("<b>&amp;[x](y)", r"\<b\>\&amp;\[x\](y)"),
        ("two\nlines", "two lines"),
        (r"back\slash $x$ ~~y~~", r"back\\slash \$x\$ \~\~y\~\~"),
    ],
)
def test_escapes_markup(words: str, shown: str) -> None:
    assert escape_markdown(words) == shown


def test_every_table_is_rectangular(measured: Measured) -> None:
    document = measured("0.3", scale=300)
    document["data"]["classes"][0] = document["epsilons"][0]["per_class"][0]["name"] = "a|b"
    for text in (markdown(document), markdown(measured("4,64/255", targeted=("none", "next")))):
        found = tables(text)
        assert len(found) >= 6
        for rows in found:
            assert {len(row) for row in rows} == {len(rows[0])}
            assert set(rows[1]) <= {":--", "--:"}


def test_numbers_match_the_document(measured: Measured) -> None:
    document = measured()
    text = markdown(document)
    confusion = tables(text)[2]
    assert [[int(cell.strip("*")) for cell in row[1:]] for row in confusion[2:]] == document["epsilons"][0]["confusion"]
    rate = document["epsilons"][0]["robust_accuracy"]
    assert f"{100 * rate['value']:.1f} \\[{100 * rate['low']:.1f}, {100 * rate['high']:.1f}\\]" in text
    assert text.count(escape_markdown(INTERVAL_NOTE)) == text.count(escape_markdown(LIMITATION_NOTE)) == 1


def test_the_verdict_comes_first() -> None:
    section = Section((Sheet("a", "", ("x",), ((1,),)),), ("one", "two"), "Part", "a chart")
    summary = Summary(("first", "second"), (section,), ("", "Warning: *"), "PASSED: yes.")
    blocks = ["**PASSED: yes.**", "first  \nsecond", "**Part**", "| x |\n| --: |\n| 1 |", "one  \ntwo", r"Warning: \*"]
    assert summary_to_markdown(summary) == "\n\n".join(blocks)
