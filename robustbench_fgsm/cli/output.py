"""Output of the commands: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import shlex
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.text import Text

from robustbench_fgsm.cli import log
from robustbench_fgsm.cli.options import OutputOptions, TableFormat, is_csv
from robustbench_fgsm.cli.options import check_output_options as check_output_options
from robustbench_fgsm.cli.progress import end_loading
from robustbench_fgsm.cli.progress import progress_bar as progress_bar
from robustbench_fgsm.cli.standard_streams import results_stream
from robustbench_fgsm.printable_text import printable

if TYPE_CHECKING:
    from robustbench_fgsm.evaluation.document import Document
    from robustbench_fgsm.report.tables.sheet import Summary


def write_note(message: str, *, quiet: bool) -> None:
    """Write one line to standard error, and to the log if there is one."""
    message = printable(message)
    log.write(message)
    if quiet:
        end_loading()
    else:
        print_line(Text(message, style="yellow" if message.startswith("Warning: ") else ""))


def print_line(text: Text) -> None:
    """Print a line on standard error; a terminal shows its colours and breaks it between words."""
    end_loading()
    console = Console(stderr=True)
    if console.is_terminal:
        console.print(text)
    else:
        typer.echo(text.plain, err=True)


def write_result(document: Document, output: OutputOptions, *, is_main: bool = True) -> int:
    """Print a document as JSON, tables (80 columns wide in a pipe) or Markdown, write its files, and return its exit code.

    Of several processes only the main one prints and writes. Raises ResourceError if a file cannot be written; RunError if a
    finished run returned its stored result, and that is not as rfgsm writes it.
    """
    if output.out is None:
        return _write_result(document, output, is_main=is_main)
    from robustbench_fgsm.runs.manifest import translate_document_errors
    from robustbench_fgsm.runs.result_schema import StoredResult

    with translate_document_errors(document.file) if isinstance(document, StoredResult) else nullcontext():
        return _write_result(document, output, is_main=is_main)


def _write_result(document: Document, output: OutputOptions, *, is_main: bool) -> int:
    end_loading()
    code: int = document["exit_code"]
    if not is_main:
        return code
    if output.plot is not None:
        _write_figure(output.plot, document)
    if output.csv is not None:
        _write_csv(output.csv, document)
    if output.out is not None and output.name is not None:
        from robustbench_fgsm.runs.directory import name_run

        name_run(output.out, output.name)
    if output.html is not None:
        _write_html(output.html, document, output)
    if output.junit is not None:
        _write_junit(output.junit, document)
    text = json.dumps(document, indent=2, allow_nan=False) if output.json else summary_text(document, output.format)
    typer.echo(text, file=results_stream())
    if output.out is not None:
        write_note(_place_sentence(document, output.out), quiet=output.quiet)
    return code


def _place_sentence(document: Document, out: Path) -> str:
    """Return where a run is kept, and the command that goes on."""
    following = "attack --check" if document["schema"] == "rfgsm.attack/1" else "report"
    return f"Kept in {out}: rfgsm {following} {shlex.quote(str(out))}"


def summary_text(document: Document, table_format: TableFormat) -> str:
    """Return the tables of a document."""
    from robustbench_fgsm.report.summarize import single_csv, summarize

    if table_format is TableFormat.csv:
        return single_csv(document).removesuffix("\n")
    return format_summary(summarize(document), table_format)


def format_summary(summary: Summary, table_format: TableFormat) -> str:
    """Return a summary as tables of a terminal, Markdown, LaTeX or CSV."""
    from robustbench_fgsm.report.tables.csv import summary_to_single_csv
    from robustbench_fgsm.report.tables.latex import summary_to_latex
    from robustbench_fgsm.report.tables.markdown import summary_to_markdown
    from robustbench_fgsm.report.tables.terminal import render_summary

    writers = {TableFormat.markdown: summary_to_markdown, TableFormat.latex: summary_to_latex}
    if table_format is TableFormat.csv:
        return summary_to_single_csv(summary).removesuffix("\n")
    if table_format in writers:
        return writers[table_format](summary)
    console = Console(file=results_stream(), highlight=False, emoji=False, markup=False)
    answer = "" if console.is_terminal else summary.verdict  # in a pipe one line, as for `tail -1`
    with console.capture() as captured:
        console.print(render_summary(replace(summary, verdict="") if answer else summary))
    lines = [line.rstrip() for line in captured.get().removesuffix("\n").split("\n")]
    return "\n".join([*lines, *filter(None, [answer])])


def _write_figure(file: Path, document: Document) -> None:
    """Write the figure of a sweep, a transfer, a training or a verification."""
    from robustbench_fgsm.files.atomic_files import write_bytes
    from robustbench_fgsm.report.figures.curves import encode_figure, figure_format
    from robustbench_fgsm.report.figures.gallery import draw_run
    from robustbench_fgsm.report.loaded_run import LoadedRun

    write_bytes(file, encode_figure(draw_run(LoadedRun("result", document), "curve"), figure_format(file)))


def _write_csv(path: Path, document: Document) -> None:
    """Write one CSV file if the path ends in `.csv`, else one for each table into that directory."""
    from robustbench_fgsm.files.atomic_files import write_bytes
    from robustbench_fgsm.report.summarize import csv_files, single_csv

    files = {path: single_csv(document)} if is_csv(path) else {path / name: text for name, text in csv_files(document).items()}
    for file, text in files.items():
        write_bytes(file, text.encode())


def _write_junit(file: Path, document: Document) -> None:
    """Write the verdict of the document."""
    from robustbench_fgsm.files.atomic_files import write_bytes
    from robustbench_fgsm.report.junit import junit_xml

    write_bytes(file, junit_xml(document).encode())


def _write_html(file: Path, document: Document, output: OutputOptions) -> None:
    """Write the page of `rfgsm report`: of the run directory if it has one, else of the document alone."""
    from robustbench_fgsm.files.atomic_files import write_bytes
    from robustbench_fgsm.report.loaded_run import REPORTED_SCHEMAS, LoadedRun, date_text, load_run
    from robustbench_fgsm.report.pages.page import build_page

    kept = output.out is not None and document["schema"] in REPORTED_SCHEMAS
    alone = LoadedRun(output.name or "result", document, date=date_text(time()))
    run = load_run(output.out, REPORTED_SCHEMAS) if kept and output.out else alone
    write_bytes(file, build_page([run]).encode())
