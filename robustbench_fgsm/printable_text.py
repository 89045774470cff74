"""Text for people: hidden characters in names are shown as escapes, and no cell is a formula."""

from __future__ import annotations

import re
from typing import Any

HIDDEN_CHARACTERS = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""Control characters, marks that change the direction of text or break a line, characters without width, halves of characters.

The joiners U+200C and U+200D are not among them: words of several languages and emoji need them.
"""

FORMULA = re.compile(r"(^|[;|\t])(?=[\s,;|]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r])")
"""Place before a text that a spreadsheet may take for a formula: at the beginning of a cell or after a separator."""


def printable(text: str) -> str:
    r"""Return the text on one line, with an escape such as `\x1b` for each character that would act instead of being shown."""
    return text if text.isascii() and text.isprintable() else HIDDEN_CHARACTERS.sub(_escape, text)


def printable_lines(text: str) -> str:
    """Return text of several lines whose hidden characters, other than ends of lines, are shown as escapes."""
    return "\n".join(map(printable, text.split("\n")))


def escape_formula(value: object) -> object:
    """Return a cell for a spreadsheet: text that it would take for a formula begins with an apostrophe."""
    return FORMULA.sub(r"\1'", value) if isinstance(value, str) else value


def printable_document(document: Any) -> Any:
    """Return a JSON document with printable keys and texts; parts without hidden characters are equal."""
    if isinstance(document, str):
        return printable(document)
    if isinstance(document, dict):
        return {printable(key) if isinstance(key, str) else key: printable_document(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        if all(isinstance(value, int | float) for value in document):
            return document
        return type(document)(map(printable_document, document)) if type(document) in (list, tuple) else document
    return document


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii") if found[0] < "\ud800" else ascii(found[0])[1:-1]
