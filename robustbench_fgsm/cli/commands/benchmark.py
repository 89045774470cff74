"""The command `rfgsm benchmark`: time our FGSM beside others."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import Annotated, Any

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import RUN_OPTIONS, DataOptions, ModelOptions, OutputOptions
from robustbench_fgsm.options import BENCHMARK_EPSILONS, AttackOptions, BenchmarkOptions, Option, RunOptions

ATTACK_VARIANT = Variant(
    only=("epsilon", "norm", "seed"),
    defaults={"epsilon": BENCHMARK_EPSILONS},
    options={"norm": Option("inf or 2."), "seed": Option("Seed of the images that --sample draws.")},
)


@expand_options
def benchmark_command(
    *,
    model_options: Annotated[ModelOptions, Variant(without=("task",))],
    data_options: Annotated[DataOptions, Variant(defaults={"limit": 512})],
    attack: Annotated[AttackOptions, ATTACK_VARIANT],
    benchmark_options: BenchmarkOptions,
    run_options: Annotated[RunOptions, Variant(without=("optimize",))],
    output: Annotated[OutputOptions, Variant(only=RUN_OPTIONS)],
) -> int:
    """Time our FGSM beside other libraries and beside a loop of bare PyTorch, on this machine.

    All take turns in one process: the attack alone and the whole job, at the largest epsilon and at all of the list.
    Prints medians, ratios to the bare loop with their spread, peak memory, and counts. Exit 0, also if a library fails;
    the table says so. Exit 1: the run is invalid.

    Example: rfgsm benchmark --model resnet18
    """
    unseeded = replace(attack, seed=0)
    spec = unseeded.to_spec(model_options.expected_bounds)

    from robustbench_fgsm.benchmarking.benchmark import check_benchmark_settings, choose_references, run_benchmark
    from robustbench_fgsm.benchmarking.contenders import check_levels, check_pytorch_network
    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import progress_bar
    from robustbench_fgsm.cli.run_evaluation import measure_and_write
    from robustbench_fgsm.engine.batch_size import choose_batch_size
    from robustbench_fgsm.engine.preflight import preflight

    check_benchmark_settings(spec, benchmark_options.rounds, benchmark_options.threads)
    benchmark_options = replace(benchmark_options, levels=tuple(check_levels(benchmark_options.levels)))
    versions = {one.name: one.installed_version for one in choose_references(benchmark_options.references)[0]}
    load = partial(load_model_and_data, model_options, data_options, seed=attack.seed, quiet=True)
    classifier, images = load_model_and_data(model_options, data_options, seed=attack.seed, quiet=output.quiet)
    check_pytorch_network(classifier)
    spec = unseeded.to_spec(classifier.bounds)
    warnings = preflight(classifier, images, spec, strict=run_options.strict)  # before a run directory is made
    run_options = replace(run_options, batch_size=choose_batch_size(run_options.batch_size, classifier, images))

    def measure() -> dict[str, Any]:
        options = replace(benchmark_options, memory=load if benchmark_options.memory else False)
        with progress_bar("benchmark", quiet=output.quiet) as progress:
            return run_benchmark(classifier, images, spec, options, run_options, warnings=warnings, progress=progress).to_dict()

    settings = asdict(benchmark_options) | {"references": versions, "batch_size": run_options.batch_size}
    return measure_and_write("benchmark", (classifier, images), spec, run_options.max_bad, output, measure, **settings)
