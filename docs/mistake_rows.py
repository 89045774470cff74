"""Write the rows of the datasheet into the pages of the known mistakes, from what `verify` measures on their wrong code.

python docs/mistake_rows.py [ID ...]

Without ids, all pages are written. A test measures again and compares the words.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import robustbench_fgsm as rf
from robustbench_fgsm.variants.catalogue import HARMLESS_IDS

FOLDER = Path(__file__).parent / "reference/mistakes"
WIDTH, INDENT = 92, 12
WRONG = re.compile(r"^\*\*Wrong\*\*\n\n```python\n(.*?)^```\n\n(?:```text\n(.*?)^```|Seen on [^\n]*)$", re.MULTILINE | re.DOTALL)
"""A wrong attack of a page, and the rows below it."""

TIME_LIMIT = 60.0
"""Seconds a call: other work may be running on this machine."""


METHOD = re.compile(r"^Measured with `(.*)`\.$", re.MULTILINE)
"""The options with which a page's attacks are measured; those of FGSM if there is no such line."""


def load_attack(code: str) -> Callable[..., Any]:
    """Return the function of a page, made anew, so that it remembers nothing."""
    namespace: dict[str, Any] = {"__name__": "page"}
    exec(code, namespace)  # noqa: S102  (the page is ours)
    attack: Callable[..., Any] = namespace.get("attack") or namespace["fgsm"]
    return attack


def method_options(page: str) -> dict[str, Any]:
    """Return the arguments of `verify` that a page states as options."""
    found = METHOD.search(page)
    words = found[1].split() if found else []
    named = {
        word[2:].replace("-", "_"): after for word, after in zip(words, [*words, ""][1:], strict=True) if word.startswith("--")
    }
    return {name: True if name == "random_start" else value for name, value in named.items()}


def datasheet_rows(mistake: str, code: str, options: dict[str, Any]) -> Iterator[str]:
    """Yield the rows that show the mistake: wrong stages with its id, else all wrong stages; its note if it is harmless."""
    found = rf.verify(load_attack(code), time_limit=TIME_LIMIT, **options)
    if mistake in HARMLESS_IDS:
        yield from (row("note", f"{one.cause}: {one.evidence}", "") for one in found.harmless if one.cause == mistake)
        return
    conduct = [one for one in found.wrong_stages if one.stage == "conduct" and mistake in {seen.cause for seen in found.conduct}]
    own = [one for one in found.wrong_stages if one.cause == mistake] or conduct
    for one in own or found.wrong_stages:
        yield row(one.stage, one.text, f"WRONG  {one.cause or ''}")


def row(stage: str, text: str, verdict: str) -> str:
    """Return a row of the datasheet, its text wrapped beside the stage."""
    lines = textwrap.wrap(text, WIDTH - INDENT, initial_indent=f"{stage:<{INDENT}}", subsequent_indent=" " * INDENT) or [stage]
    if verdict and len(lines[-1]) + 2 + len(verdict) <= WIDTH:
        lines[-1] += f"  {verdict}"
    elif verdict:
        lines.append(f"{'':<{INDENT}}{verdict}")
    return "\n".join(line.rstrip() for line in lines)


def with_rows(mistake: str, page: str) -> str:
    """Return the text of a page with the rows of each of its wrong attacks."""

    def replaced(match: re.Match[str]) -> str:
        code = match[1]
        rows = "\n".join(datasheet_rows(mistake, code, method_options(page)))
        return f"**Wrong**\n\n```python\n{code}```\n\n```text\n{rows}\n```"

    return WRONG.sub(replaced, page)


def main(ids: list[str]) -> None:
    """Write the pages of these mistakes, of all for none."""
    for file in sorted(FOLDER.glob("*.md")):
        if file.stem != "index" and (not ids or file.stem in ids):
            file.write_text(with_rows(file.stem, file.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
