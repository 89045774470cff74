"""Hidden characters become escapes; everything else stays."""

from __future__ import annotations

from typing import Any

import pytest

from robustbench_fgsm.printable_text import printable, printable_document


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
