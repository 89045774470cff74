"""`rfgsm runs`."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_fgsm.cli import options

runs_app = typer.Typer(name="runs", help="What is on disk: list, show or resume runs that --out keeps.")

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the run.", show_default=False)]


@runs_app.command("list")
def list_runs(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Where to look, and below it.")] = Path(),
    json: options.Json = False,
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
) -> int:
    """List runs, how far they have come, and what they measure.

    Example: rfgsm runs list results
    """
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.report.documents.runs import listed
    from robustbench_fgsm.runs.read import find_runs, summary

    began = time.perf_counter()
    found = [summary(place) for place in find_runs(root)]
    write_result(_document("runs", {"runs": found}, began), listed, as_json=json)
    return 0


@runs_app.command("show")
def show_run(
    directory: Directory,
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
    from robustbench_fgsm.cli.output import check_file, write_result
    from robustbench_fgsm.report.documents.runs import shown
    from robustbench_fgsm.runs.export import check_export, rows, tables
    from robustbench_fgsm.runs.export import export as write_samples
    from robustbench_fgsm.runs.read import contents, read_run, summary

    began = time.perf_counter()
    check_file("--export", export)
    if export is not None:
        check_export(export)
    found: dict[str, Any] = summary(directory)
    if found["pieces"] is not None:
        found |= contents(directory)
    if samples or export is not None:
        run = read_run(directory)
        if samples:
            found["samples"] = list(islice((row for table in tables(run) for row in rows(table)), limit))
        if export is not None:
            write_samples(run, export)
    write_result(_document("run-shown", found, began), shown, as_json=json)
    return 0


@runs_app.command("resume")
def resume_run(
    directory: Directory,
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
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.cli.processes import joined
    from robustbench_fgsm.cli.resume import Ways, go_on

    world = joined()
    ways = Ways(weights, device, keep_images, trust_model_code, trust_data_code)
    document, render = go_on(directory, ways, world, quiet=quiet)
    if world.leads:
        write_result(document, render, as_json=json)
    code: int = document["exit_code"]
    return code


def _document(name: str, found: dict[str, Any], began: float) -> dict[str, Any]:
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
