"""`rfgsm benchmark`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer

from robustbench_fgsm.cli import options
from robustbench_fgsm.cli.options import DataOptionGroup, ModelOptionGroup, expand_options


@expand_options
def benchmark_command(
    model: options.Model,
    weights: options.Weights = "auto",
    data: options.Data = None,
    limit: Annotated[int, typer.Option("--limit", help="Only the first so many images.")] = 512,
    eps: options.Eps = "1,2,3,4,5,6,7,8/255",
    norm: Annotated[str, typer.Option("--norm", help="inf or 2.")] = "inf",
    references: Annotated[
        str | None,
        typer.Option(
            "--references",
            help="Other libraries, as a comma list, or none.",
            show_default="all that are installed",
        ),
    ] = None,
    levels: Annotated[str, typer.Option("--levels", help="Of our optimisation, as a comma list.")] = "none,safe,max",
    rounds: Annotated[int, typer.Option("--rounds", help="Timed turns of each, after one to warm up.")] = 5,
    memory: Annotated[bool, typer.Option("--memory/--no-memory", help="Measure peak memory, in a process for each.")] = True,
    batch_size: options.BatchSize = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", help="Of PyTorch on the CPU.", show_default="PyTorch's own choice")
    ] = None,
    device: options.Device = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Of the images that --sample draws.")] = 0,
    data_options: DataOptionGroup = DataOptionGroup(),
    model_options: ModelOptionGroup = ModelOptionGroup(),
    out: options.Out = None,
    format: options.Format = options.TableFormat.table,  # noqa: A002  (the name of the option)
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
) -> int:
    """Time our FGSM beside other libraries and beside a loop of bare PyTorch, on this machine.

    All take turns in one process: the attack alone and the whole job, at the largest epsilon and at all of the list.
    Prints medians, ratios to the bare loop with their spread, peak memory, and what each counted. Exit 0, also where a
    library fails, which the table says. Exit 1: the run is invalid.

    Example: rfgsm benchmark --model resnet18
    """
    from robustbench_fgsm.cli.output import check_table_format
    from robustbench_fgsm.spec import AttackSpec, parse_epsilon, parse_norm

    check_table_format(format, as_json=json)
    order = parse_norm(norm)
    spec = AttackSpec(parse_epsilon(eps, order), order)

    from robustbench_fgsm.benchmarking.benchmark import (
        BenchmarkOptions,
        check_benchmark_settings,
        choose_references,
        run_benchmark,
    )
    from robustbench_fgsm.benchmarking.contenders import check_levels, check_pytorch_network
    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import progress_bar, stdout_to_stderr, write_result
    from robustbench_fgsm.engine.batch_size import choose_batch_size
    from robustbench_fgsm.engine.preflight import check_batch_size, preflight
    from robustbench_fgsm.report.documents import benchmark as text
    from robustbench_fgsm.report.documents import markdown
    from robustbench_fgsm.runs.directory import RunDirectory
    from robustbench_fgsm.runs.settings import run_settings

    check_benchmark_settings(spec, rounds, threads)
    check_batch_size(batch_size)
    chosen = check_levels(levels.split(","))
    named = None if references is None else [] if references.strip() == "none" else references.split(",")
    opponents = {one.name: one.installed_version for one in choose_references(named)[0]}
    load = partial(load_model_and_data, model, weights, data, limit, device, data_options, model_options, seed=seed, quiet=True)
    classifier, images = load_model_and_data(
        model, weights, data, limit, device, data_options, model_options, seed=seed, quiet=quiet
    )
    check_pytorch_network(classifier)
    spec = replace(spec, bounds=classifier.bounds)
    warnings = preflight(classifier, images, spec, strict=data_options.strict)  # before a run directory is made
    size = choose_batch_size(batch_size, classifier, images)

    benchmark_options = BenchmarkOptions(named, chosen, rounds, load if memory else False, size, threads, data_options.max_bad)

    def measure() -> dict[str, Any]:
        with stdout_to_stderr(), progress_bar("benchmark", quiet=quiet) as progress:
            return run_benchmark(classifier, images, spec, benchmark_options, warnings=warnings, progress=progress).to_dict()

    settings = run_settings(
        "benchmark",
        classifier,
        images,
        spec,
        max_bad=data_options.max_bad,
        references=opponents,
        levels=chosen,
        rounds=rounds,
        memory=memory,
        batch_size=size,
        threads=threads,
    )
    with RunDirectory(out, settings) as run:
        document = run.write_result(run.result or measure())
    write_result(
        document, markdown.benchmark_to_markdown if format is options.TableFormat.markdown else text.render_benchmark, as_json=json
    )
    code: int = document["exit_code"]
    return code
