"""The command `rfgsm report`: one HTML page of runs, or of one result of any command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import OutputOptions, TableFormat, check_output_path
from robustbench_fgsm.options import Option

if TYPE_CHECKING:
    from robustbench_fgsm.report.loaded_run import LoadedRun


@expand_options
def report_command(
    *,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Directories made with --out, or their result.json.")],
    output: Annotated[
        Path | None, Option("The page, one file.", short="-o", metavar="FILE", default_text="report.html", panel="Output")
    ] = None,
    table: Annotated[
        TableFormat | None,
        Option("Print one table of the runs in place of the page: table, markdown, latex or csv.", flag="--format", panel="Output"),
    ] = None,
    output_options: Annotated[OutputOptions, Variant(only=("quiet", "debug"))],
) -> int:
    """Make one HTML page of one or more runs of evaluate, sweep, compare and attack, or of one result of any other command.

    The page needs no network and no other file. Several runs share one table and one figure of curves. A result without --out,
    such as that of a gate, is a file that --json wrote. With --format tables are printed, and no page is made unless -o names one.

    Example: rfgsm report results/standard results/robust -o report.html

    Example: rfgsm report results/standard results/robust --format latex
    """
    from robustbench_fgsm.cli.output import write_note
    from robustbench_fgsm.cli.standard_streams import results_stream
    from robustbench_fgsm.files.atomic_files import write_bytes
    from robustbench_fgsm.report.loaded_run import load_run
    from robustbench_fgsm.report.pages.page import build_page
    from robustbench_fgsm.runs.manifest import translate_document_errors

    page_file = output or (Path("report.html") if table is None else None)
    check_output_path("--output", page_file)
    with translate_document_errors(runs[0]):
        loaded = [load_run(place) for place in runs]
        page = "" if page_file is None else build_page(loaded)
        if table is not None:
            typer.echo(_table_text(runs, loaded, table), file=results_stream())
    if page_file is not None:
        write_bytes(page_file, page.encode())
        write_note(f"{page_file}: {page_file.stat().st_size / 2**20:.1f} MiB", quiet=output_options.quiet)
    return 0


def _table_text(places: list[Path], runs: list[LoadedRun], table: TableFormat) -> str:
    """Return one table of runs of evaluate, sweep, compare and attack, or the tables of one result of another command."""
    from robustbench_fgsm.cli.output import format_summary, summary_text
    from robustbench_fgsm.report.documents.compared_runs import summarize_runs
    from robustbench_fgsm.report.loaded_run import EVALUATION_SCHEMAS, check_schema

    first = runs[0].document
    if len(runs) == 1 and first["schema"] not in EVALUATION_SCHEMAS:
        return summary_text(first, table)
    for place, run in zip(places, runs, strict=True):
        check_schema(run.document["schema"], EVALUATION_SCHEMAS, place)
    return format_summary(summarize_runs(runs), table)
