"""The page of each command says what its help says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def command_pages() -> ModuleType:
    """docs/command_pages.py."""
    spec = importlib.util.spec_from_file_location("command_pages", DOCS / "command_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = command_pages().make_pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_is_up_to_date(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == PAGES[page], "run python docs/command_pages.py"


def test_no_page_is_left_over() -> None:
    assert {*(DOCS / "reference/commands").glob("*.md")} < {*PAGES}
