"""The page of networks and data of every form shows what its rows give."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from tests.load_script import load_script

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference/inputs.md").read_text(encoding="utf-8")


@cache
def input_rows() -> ModuleType:
    """docs/input_rows.py."""
    return load_script(DOCS / "input_rows.py")


def words(rows: list[list[str]]) -> list[list[str]]:
    """Return cells without numbers, which depend on the processor."""
    return [[re.sub(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?", "#", cell) for cell in row] for row in rows]


def columns(heading: str) -> dict[str, dict[str, str]]:
    """Return the cells of a table by column and input."""
    header, rows = input_rows().read_table(PAGE, heading)
    return {name: {row[0]: row[place] for row in rows} for place, name in enumerate(header)}


TABLES = [("Networks", "NETWORKS"), ("Data", "DATA")]
ROWS = [pytest.param(heading, row, id=row.words) for heading, name in TABLES for row in getattr(input_rows(), name)]
REMEDIES = [
    pytest.param(row, call, id=f"{row.words}: {code}")
    for _, name in TABLES
    for row in getattr(input_rows(), name)
    for call, code in row.remedies.items()
]


@pytest.mark.parametrize(("heading", "name"), TABLES)
def test_page_has_all_rows(heading: str, name: str) -> None:
    _, rows = input_rows().read_table(PAGE, heading)
    assert [row[0] for row in rows] == [row.words for row in getattr(input_rows(), name)]


@pytest.mark.parametrize("heading", [heading for heading, _ in TABLES])
def test_ours_is_never_wrong_and_never_a_traceback(heading: str) -> None:
    ours = [columns(heading)[name] for name in input_rows().OURS]
    assert {cell for column in ours for cell in column.values()} <= {"right", "one line", "one warning", "invalid"}


@pytest.mark.parametrize("column", input_rows().OURS)
@pytest.mark.parametrize(("heading", "row"), ROWS)
def test_ours(heading: str, row: object, column: str, one_thread: None) -> None:
    assert input_rows().verdict(row, column)[0] == columns(heading)[column][row.words], "run python docs/input_rows.py"  # type: ignore[attr-defined]


@pytest.mark.parametrize(("row", "call"), REMEDIES)
def test_remedy_of_our_line_is_right(row: object, call: str, one_thread: None) -> None:
    assert input_rows().follow(row, call)


def test_our_lines(one_thread: None) -> None:
    _, rows = input_rows().read_table(PAGE, "Our lines")
    assert words(rows) == words(input_rows().lines()), "run python docs/input_rows.py"


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", input_rows().LIBRARIES)
@pytest.mark.parametrize(("heading", "row"), ROWS)
def test_library(heading: str, row: object, library: str, one_thread: None) -> None:
    shown = f"{library} {input_rows().installed_version(library)}"
    if shown not in columns(heading):
        pytest.skip(f"the page has no column {shown}")
    assert input_rows().verdict(row, library)[0] == columns(heading)[shown][row.words]  # type: ignore[attr-defined]
