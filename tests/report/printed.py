"""What a terminal shows of a document or a sheet."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from robustbench_fgsm.report.summarize import summarize
from robustbench_fgsm.report.tables.sheet import Sheet
from robustbench_fgsm.report.tables.terminal import render_sheet, render_summary


def printed(shown: dict[str, Any] | Sheet, width: int = 80) -> str:
    """Return what a terminal of that width shows, one that would take markup and emoji for what they are."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(render_sheet(shown) if isinstance(shown, Sheet) else render_summary(summarize(shown)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def unwrapped(shown: dict[str, Any] | Sheet) -> str:
    """Return it as one line, since where a sentence breaks does not matter."""
    return " ".join(printed(shown).split())
