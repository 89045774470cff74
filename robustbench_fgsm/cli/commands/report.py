"""The command `rfgsm report`: one HTML page of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_fgsm.cli.options import OutputOptions, Variant, check_output_path, expand_options
from robustbench_fgsm.options import Option


@expand_options
def report_command(
    *,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Directories made with --out, or their result.json.")],
    output: Annotated[Path, Option("The page, one file.", short="-o", metavar="FILE")] = Path("report.html"),
    output_options: Annotated[OutputOptions, Variant(only=("quiet", "debug"))],
) -> int:
    """Make one HTML page of one or more runs of evaluate, sweep and compare, or of one transfer or training.

    The page needs no network and no other file. Several runs share one table and one figure of curves.

    Example: rfgsm report results/standard results/robust -o report.html
    """
    from robustbench_fgsm.cli.output import write_note
    from robustbench_fgsm.files.atomic_files import write_bytes
    from robustbench_fgsm.report.loaded_run import REPORTED_SCHEMAS, load_run
    from robustbench_fgsm.report.pages.page import build_page
    from robustbench_fgsm.runs.manifest import translate_document_errors

    check_output_path("--output", output)
    with translate_document_errors(runs[0]):
        page = build_page([load_run(place, REPORTED_SCHEMAS) for place in runs])
    write_bytes(output, page.encode())
    write_note(f"{output}: {output.stat().st_size / 2**20:.1f} MiB", quiet=output_options.quiet)
    return 0
