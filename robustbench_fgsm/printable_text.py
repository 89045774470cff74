"""Text for people: control characters, terminal escapes and marks of direction in names are shown as escapes."""

from __future__ import annotations

import re
from typing import Any

HIDDEN_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb]")
"""Control characters, marks that change the direction of text or break a line, and halves of characters."""


def printable(text: str) -> str:
    r"""Return the text on one line, with an escape such as `\x1b` for each character that would act instead of being shown."""
    return text if text.isascii() and text.isprintable() else HIDDEN_CHARACTERS.sub(_escape, text)


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
