"""Where commands write: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, RenderableType

from robustbench_fgsm.cli import log
from robustbench_fgsm.cli.options import OutputOptions, TableFormat
from robustbench_fgsm.cli.progress import progress_bar as progress_bar
from robustbench_fgsm.errors import SettingError


def write_note(message: str, *, quiet: bool) -> None:
    """One line on standard error, and in the log where there is one."""
    log.write(message)
    if not quiet:
        typer.echo(message, err=True)


def write_result(document: dict[str, Any], render: Callable[[dict[str, Any]], RenderableType], *, as_json: bool) -> None:
    """The document itself, or what is made of it: tables, 80 columns wide in a pipe, or text as it is."""
    text = json.dumps(document, indent=2, allow_nan=False) if as_json else _as_text(render(document))
    try:
        typer.echo(text)
    except BrokenPipeError:  # the reader has seen enough: the exit code is still that of the result
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_text(rendered: RenderableType) -> str:
    if isinstance(rendered, str):
        return rendered
    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
    with console.capture() as captured:
        console.print(rendered)
    return captured.get().removesuffix("\n")


def check_output_path(option: str, path: Path | None, *, directory: bool = False) -> None:
    """Raise SettingError, before anything is measured, where no file (or directory) can ever stand in that place."""
    if path is None:
        return
    try:
        existing = next(place for place in (path, *path.parents) if place.exists())
    except OSError as error:
        raise SettingError(f"{option} {path} cannot be written ({error.strerror}): choose another path") from error
    fits = existing.is_dir() == directory if existing == path else existing.is_dir()
    if not fits:
        kind = "directory" if existing.is_dir() else "file"
        raise SettingError(f"{option} {path} cannot be written, because {existing} is a {kind}: choose another path")


def check_output_options(output: OutputOptions) -> None:
    """Raise SettingError, before anything is measured, for output options that exclude each other or cannot be written."""
    if output.json and output.format is TableFormat.markdown:
        raise SettingError("--format markdown and --json exclude each other, got both: leave one out")
    check_output_path("--csv", output.csv, directory=output.csv is not None and not _is_csv(output.csv))
    check_output_path("--html", output.html)
    check_output_path("--plot", output.plot)


def write_csv(path: Path | None, document: dict[str, Any]) -> None:
    """The document as one CSV file where the path ends in `.csv`, else as several in that directory.

    Raises ResourceError where they cannot be written.
    """
    from robustbench_fgsm.report.documents import transfer
    from robustbench_fgsm.report.tables import csv
    from robustbench_fgsm.runs.directory import write_bytes

    if path is None:
        return
    tables = transfer if document["schema"] == transfer.TRANSFER_SCHEMA else csv
    if _is_csv(path):
        write_bytes(path, tables.single_csv(document).encode())
        return
    for name, text in tables.csv_files(document).items():
        write_bytes(path / name, text.encode())


def write_html(file: Path | None, document: dict[str, Any], out: Path | None) -> None:
    """The page that `rfgsm report` makes of the run: of its directory where it has one, else of the document alone.

    Raises ResourceError where it cannot be written.
    """
    from robustbench_fgsm.report.loaded_run import REPORTED_SCHEMAS, LoadedRun, load_run
    from robustbench_fgsm.report.pages.page import build_page
    from robustbench_fgsm.runs.directory import write_bytes

    if file is not None:
        run = LoadedRun("result", document) if out is None else load_run(out, REPORTED_SCHEMAS)
        write_bytes(file, build_page([run]).encode())


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """What anybody else's code prints goes to standard error, so that standard output is the result alone."""
    with redirect_stdout(sys.stderr):
        yield
