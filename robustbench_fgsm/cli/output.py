"""Output of the commands: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from robustbench_fgsm.cli import log
from robustbench_fgsm.cli.options import OutputOptions, TableFormat
from robustbench_fgsm.cli.progress import progress_bar as progress_bar
from robustbench_fgsm.errors import SettingError

if TYPE_CHECKING:
    from robustbench_fgsm.evaluation.document import Document


def write_note(message: str, *, quiet: bool) -> None:
    """Write one line to standard error, and to the log if there is one."""
    log.write(message)
    if not quiet:
        typer.echo(message, err=True)


def write_result(document: Document, output: OutputOptions) -> None:
    """Print a document as JSON, tables (80 columns wide in a pipe) or Markdown, and write its figure, CSV files and page.

    Raises ResourceError if a file cannot be written.
    """
    if output.plot is not None:
        _write_figure(output.plot, document)
    if output.csv is not None:
        _write_csv(output.csv, document)
    if output.html is not None:
        _write_html(output.html, document, output.out)
    text = json.dumps(document, indent=2, allow_nan=False) if output.json else _summary_text(document, output.format)
    try:
        typer.echo(text)
    except BrokenPipeError:  # the reader has seen enough: the exit code is still that of the result
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _summary_text(document: Document, table_format: TableFormat) -> str:
    from robustbench_fgsm.report.summarize import summarize
    from robustbench_fgsm.report.tables.markdown import summary_to_markdown
    from robustbench_fgsm.report.tables.terminal import render_summary

    summary = summarize(document)
    if table_format is TableFormat.markdown:
        return summary_to_markdown(summary)
    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
    with console.capture() as captured:
        console.print(render_summary(summary))
    return captured.get().removesuffix("\n")


def check_output_options(output: OutputOptions) -> None:
    """Raise SettingError, before anything is measured, if options exclude each other or a file can never be written."""
    if output.json and output.format is TableFormat.markdown:
        raise SettingError("--format markdown and --json exclude each other, got both: leave one out")
    check_output_path("--csv", output.csv, directory=output.csv is not None and not _is_csv(output.csv))
    check_output_path("--html", output.html)
    check_output_path("--plot", output.plot)
    if output.plot is not None:
        from robustbench_fgsm.report.figures.curves import figure_format

        figure_format(output.plot)


def check_output_path(option: str, path: Path | None, *, directory: bool = False) -> None:
    """Raise SettingError if no file (or directory) can ever be written to a path."""
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


def _write_figure(file: Path, document: Document) -> None:
    """Write the figure of a sweep, a transfer or a training."""
    from robustbench_fgsm.report.figures.curves import encode_figure, figure_format
    from robustbench_fgsm.report.figures.gallery import draw_run
    from robustbench_fgsm.report.loaded_run import LoadedRun
    from robustbench_fgsm.runs.atomic_files import write_bytes

    write_bytes(file, encode_figure(draw_run(LoadedRun("result", document), "curve"), figure_format(file)))


def _write_csv(path: Path, document: Document) -> None:
    """Write one CSV file if the path ends in `.csv`, else one for each table into that directory."""
    from robustbench_fgsm.report.summarize import csv_files, single_csv
    from robustbench_fgsm.runs.atomic_files import write_bytes

    files = {path: single_csv(document)} if _is_csv(path) else {path / name: text for name, text in csv_files(document).items()}
    for file, text in files.items():
        write_bytes(file, text.encode())


def _write_html(file: Path, document: Document, out: Path | None) -> None:
    """Write the page of `rfgsm report`: of the run directory if there is one, else of the document alone."""
    from robustbench_fgsm.report.loaded_run import REPORTED_SCHEMAS, LoadedRun, load_run
    from robustbench_fgsm.report.pages.page import build_page
    from robustbench_fgsm.runs.atomic_files import write_bytes

    run = LoadedRun("result", document) if out is None else load_run(out, REPORTED_SCHEMAS)
    write_bytes(file, build_page([run]).encode())


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what other code prints to standard error, so that standard output holds the result alone."""
    with redirect_stdout(sys.stderr):
        yield
