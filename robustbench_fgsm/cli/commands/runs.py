"""`rfgsm runs`."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_fgsm.cli import options

runs_app = typer.Typer(name="runs", help="What is on disk: list, show or resume runs that --out keeps.")

DirectoryArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the run.", show_default=False)]


@runs_app.command("list")
def list_runs(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Where to look, and below it.")] = Path(),
    json: options.Json = False,
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
) -> int:
    """List runs, how far they have come, and what they measure.

    Example: rfgsm runs list results
    """
    from robustbench_fgsm.cli.output import ResultFormat, write_result
    from robustbench_fgsm.runs.read import find_runs, summarize_run

    began = time.perf_counter()
    found = [summarize_run(place) for place in find_runs(root)]
    write_result(_runs_document("runs", {"runs": found}, began), ResultFormat(json=json))
    return 0


@runs_app.command("show")
def show_run(
    directory: DirectoryArgument,
    samples: Annotated[bool, typer.Option("--samples", help="Also what became of each image.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Only so many rows of --samples.")] = 20,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Write what became of each image: .csv, .jsonl or .parquet.",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
    debug: options.Debug = False,  # noqa: ARG001
) -> int:
    """Show one run: its state, its settings, its result if it has one, and what became of each image.

    Example: rfgsm runs show results/sweep --samples --export samples.parquet
    """
    from robustbench_fgsm.cli.output import ResultFormat, check_output_path, write_result
    from robustbench_fgsm.runs.export import export_samples as write_samples
    from robustbench_fgsm.runs.export import get_export_writer, sample_rows, sample_tables
    from robustbench_fgsm.runs.read import read_manifest_and_result, read_saved_run, summarize_run

    began = time.perf_counter()
    check_output_path("--export", export)
    if export is not None:
        get_export_writer(export)
    found: dict[str, Any] = summarize_run(directory)
    if found["pieces"] is not None:
        found |= read_manifest_and_result(directory)
    if samples or export is not None:
        run = read_saved_run(directory)
        if samples:
            found["samples"] = list(islice((row for table in sample_tables(run) for row in sample_rows(table)), limit))
        if export is not None:
            write_samples(run, export)
    write_result(_runs_document("run-shown", found, began), ResultFormat(json=json))
    return 0


@runs_app.command("resume")
def resume_run(
    directory: DirectoryArgument,
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="Where the weights lie now.", show_default="where the manifest says"),
    ] = None,
    device: options.Device = "auto",
    keep_images: options.KeepImages = 500,
    trust_model_code: Annotated[
        bool, typer.Option("--trust-model-code", help="Run the model code that the manifest names.")
    ] = False,
    trust_data_code: Annotated[
        bool, typer.Option("--trust-data-code", help="Run the function of data that the manifest names.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    log_dir: options.LogDir = None,  # noqa: ARG001  (read by main, before anything is said)
    debug: options.Debug = False,  # noqa: ARG001
) -> int:
    """Go on with a run of evaluate, sweep, transfer or train where it was stopped, or show its result where it is done.

    The result of evaluate and sweep is judged as the command that made the run last judged it: exit 1 where a gate fails.

    Example: rfgsm runs resume results/sweep
    """
    from robustbench_fgsm.cli.output import ResultFormat, write_result
    from robustbench_fgsm.cli.processes import join_processes
    from robustbench_fgsm.cli.resume import ResumeOptions, resume

    world = join_processes()
    ways = ResumeOptions(weights, device, keep_images, trust_model_code, trust_data_code)
    document = resume(directory, ways, world, quiet=quiet)
    if world.is_main:
        write_result(document, ResultFormat(json=json))
    code: int = document["exit_code"]
    return code


def _runs_document(name: str, found: dict[str, Any], began: float) -> dict[str, Any]:
    from robustbench_fgsm.engine.environment import describe_software

    return {
        "schema": f"rfgsm.{name}/1",
        "status": "complete",
        "exit_code": 0,
        "invalid_reasons": [],
        "warnings": [],
        **found,
        "environment": describe_software(),
        "seconds": {"total": time.perf_counter() - began},
    }
