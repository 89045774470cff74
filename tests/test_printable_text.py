"""Hidden characters become escapes; everything else stays."""

from __future__ import annotations

from typing import Any

import pytest

from robustbench_fgsm.printable_text import escape_formula, printable, printable_document, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("two\nlines\tand\rmore", r"two\nlines\tand\rmore"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u2028b\ufeff", r"a\u2028b\ufeff"),
        ("\udc80.png", r"\udc80.png"),
        ("nul\x00", r"nul\x00"),
        ("no\u200bwidth\u2060\xad", r"no\u200bwidth\u2060\xad"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("क्\u200dष", "क्\u200dष"),
        ("é中文\U0001f600 = [red]", "é中文\U0001f600 = [red]"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_hidden_characters_are_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


@pytest.mark.parametrize("document", [{"a\n": ["b\x1b", 1, None, {"c": ("\r", 2.5)}], "d": [1, 2]}])
def test_whole_documents(document: Any) -> None:
    assert printable_document(document) == {r"a\n": [r"b\x1b", 1, None, {"c": (r"\r", 2.5)}], "d": [1, 2]}


def test_lines_stay_lines() -> None:
    assert printable_lines("a\x1b\nb\r\n") == "a\\x1b\nb\\r\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", " =", "\u00a0=", ",="])
def test_escapes_formulas(start: str) -> None:
    assert escape_formula(f"{start}1+1") == f"'{start}1+1"
    assert escape_formula(f"a{start}") == f"a{start}"


@pytest.mark.parametrize(("cell", "shown"), [("a;=1", "a;'=1"), ("a|=1", "a|'=1"), ("a\t=1", "a\t'=1"), ("a; =1", "a;' =1")])
def test_escapes_formulas_behind_a_separator(cell: str, shown: str) -> None:
    assert escape_formula(cell) == shown


def test_numbers_stay_numbers() -> None:
    assert escape_formula(-0.25) == -0.25
    assert escape_formula(None) is None
