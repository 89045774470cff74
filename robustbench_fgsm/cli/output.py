"""Where commands write: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def note(message: str, *, quiet: bool) -> None:
    """One line on standard error."""
    if not quiet:
        typer.echo(message, err=True)


def write_result(
    document: dict[str, Any], render: Callable[[dict[str, Any]], RenderableType], *, as_json: bool
) -> None:
    """The document itself, or the tables made of it; at least 80 columns wide in a pipe."""
    if as_json:
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
    console.print(render(document))


@contextmanager
def progress_bar(title: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error where that is a terminal, and nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
