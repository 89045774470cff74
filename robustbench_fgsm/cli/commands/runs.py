"""The commands `rfgsm runs list`, `show` and `resume`."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.help_panels import CommandGroup
from robustbench_fgsm.cli.options import RESULT_OPTIONS, VERDICT_OPTIONS, OutputOptions, check_output_path
from robustbench_fgsm.options import Option, ReloadOptions

runs_app = typer.Typer(
    name="runs", help="List, show or resume the runs that --out keeps on disk.", no_args_is_help=True, cls=CommandGroup
)

TableOutput = Annotated[OutputOptions, Variant(only=RESULT_OPTIONS)]
DirectoryArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the run.", show_default=False)]


@expand_options
def list_runs(
    output: TableOutput,
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Directory to search, with all below it.")] = Path(),
) -> int:
    """List runs, with their progress and what they measure.

    Example: rfgsm runs list results
    """
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.runs.read import find_runs, summarize_run

    began = time.perf_counter()
    found = [summarize_run(place) for place in find_runs(root)]
    return write_result(_runs_document("runs", {"runs": found}, began), output)


@expand_options
def show_run(
    directory: DirectoryArgument,
    output: TableOutput,
    outcomes: Annotated[
        int, Option("Also show the outcomes of images: N rows, one for each image and attack.", metavar="N", min=0, panel="Output")
    ] = 0,
    export: Annotated[
        Path | None, Option("Write the outcome of each image: .csv, .jsonl or .parquet.", metavar="FILE", panel="Output")
    ] = None,
) -> int:
    """Show one run: its state, its settings, its result if there is one, and the outcome of each image.

    Example: rfgsm runs show results/sweep --outcomes 20 --export samples.parquet
    """
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.runs.export import export_samples as write_samples
    from robustbench_fgsm.runs.export import get_export_writer, sample_rows, sample_tables
    from robustbench_fgsm.runs.manifest import translate_document_errors
    from robustbench_fgsm.runs.read import read_manifest_and_result, read_saved_run, summarize_run

    began = time.perf_counter()
    check_output_path("--export", export)
    if export is not None:
        get_export_writer(export)
    found: dict[str, Any] = summarize_run(directory)
    if found["pieces"] is not None:
        found |= read_manifest_and_result(directory)
    if outcomes or export is not None:
        run = read_saved_run(directory)
        if outcomes:
            with translate_document_errors(directory):
                found["samples"] = list(islice((row for table in sample_tables(run) for row in sample_rows(table)), outcomes))
        if export is not None:
            write_samples(run, export)
    with translate_document_errors(directory):
        return write_result(_runs_document("run-shown", found, began), output)


@expand_options
def resume_run(
    directory: DirectoryArgument,
    options: ReloadOptions,
    output: Annotated[OutputOptions, Variant(only=(*VERDICT_OPTIONS, "keep_images", "quiet", "log_dir"))],
) -> int:
    """Continue a stopped run of evaluate, sweep, transfer or train, or show the result of a finished one.

    The gates of the last command of an evaluate run apply again. Exit 1: a gate fails.

    Example: rfgsm runs resume results/sweep
    """
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.cli.resume import resume
    from robustbench_fgsm.engine.distributed import join_world
    from robustbench_fgsm.runs.manifest import translate_document_errors

    world = join_world()
    document = resume(directory, options, world, output)
    with translate_document_errors(directory):
        return write_result(document, output, is_main=world.is_main)


def _runs_document(name: str, found: dict[str, Any], began: float) -> dict[str, Any]:
    from robustbench_fgsm.engine.environment import describe_software
    from robustbench_fgsm.evaluation.document import complete_document

    return complete_document(f"rfgsm.{name}/1", found, describe_software(), time.perf_counter() - began)
