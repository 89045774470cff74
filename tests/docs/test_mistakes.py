"""Every known mistake has a page, whose wrong code gives the rows that the page shows."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.variants.catalogue import HARMLESS_IDS, MISTAKE_BY_ID
from tests.load_script import load_script

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "reference/mistakes"
INDEX = (FOLDER / "index.md").read_text(encoding="utf-8")
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in FOLDER.glob("*.md") if page.stem != "index"}
RIGHT = re.compile(r"^\*\*Right\*\*\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OTHER_NAMES = {
    ("misaligned-images", 0): "a random order of the images looks like randomness",
    ("truncated-8bit", 1): "truncation of 256 levels is right on average, as rounding is",
    ("wrong-clip-range", 5): "a range of [-2, 2] clips no step that the bench takes",
}
"""Wrong attacks by page and number that have another mark, and why."""


@cache
def mistake_rows() -> ModuleType:
    """docs/mistake_rows.py."""
    return load_script(DOCS / "mistake_rows.py")


def words(text: str) -> str:
    """Return text without its numbers, which depend on the processor, and on one line."""
    return " ".join(re.sub(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?", "#", text).split())


EXAMPLES = [
    pytest.param(name, number, code, rows, id=f"{name}-{number}")
    for name in sorted(PAGES)
    for number, (code, rows) in enumerate(mistake_rows().WRONG.findall(PAGES[name]))
]


@cache
def verified(code: str, options: tuple[tuple[str, Any], ...]) -> rf.Verification:
    """Many pages show the same right attack."""
    return rf.verify(mistake_rows().load_attack(code), time_limit=60.0, **dict(options))


def test_one_page_per_mistake() -> None:
    assert set(PAGES) == set(MISTAKE_BY_ID)
    assert all(text.startswith(f"# {name}\n") for name, text in PAGES.items())


def test_index_lists_all_mistakes() -> None:
    rows = re.findall(r"^\| \[([\w-]+)\]\((.*?)\.md\) \| (.*?) \| (yes )?\|", INDEX, re.MULTILINE)
    assert rows == [(name, name, one.summary, "yes " if one.harmless else "") for name, one in MISTAKE_BY_ID.items()]
    assert re.findall(r"^([\w-]+)$", INDEX.partition("```{toctree}")[2], re.MULTILINE) == list(MISTAKE_BY_ID)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_page_shows_wrong_and_right(name: str) -> None:
    assert PAGES[name].count("**Wrong**") == len(mistake_rows().WRONG.findall(PAGES[name])) >= 1
    assert len(RIGHT.findall(PAGES[name])) == 1
    assert all("robustbench_fgsm" not in code for code, _ in mistake_rows().WRONG.findall(PAGES[name]))


@pytest.mark.reference
@pytest.mark.parametrize(("name", "number", "code", "rows"), EXAMPLES)
def test_wrong_code_has_the_mark(name: str, number: int, code: str, rows: str) -> None:
    found = mistake_rows().datasheet_rows(name, code, mistake_rows().method_options(PAGES[name]))
    assert words("\n".join(found)) == words(rows), "run python docs/mistake_rows.py"
    if (name, number) not in OTHER_NAMES:
        assert re.search(rf"(WRONG  |note +|; and .*){name}\b", rows)


@pytest.mark.reference
@pytest.mark.parametrize("name", sorted(PAGES))
def test_right_code_is_right(name: str) -> None:
    (code,) = RIGHT.findall(PAGES[name])
    found = verified(code, tuple(mistake_rows().method_options(PAGES[name]).items()))
    assert found.verdict == "right"
    assert name not in {one.cause for one in found.harmless}


def test_harmless_mistakes_are_those_of_the_catalogue() -> None:
    assert {name for name in PAGES if re.search(r"^```text\nnote", PAGES[name], re.MULTILINE)} == HARMLESS_IDS
