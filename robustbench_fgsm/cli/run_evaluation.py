"""One measurement for a command, by all processes that torchrun started, kept in a run directory where one is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustbench_fgsm.cli.options import DataOptionGroup
from robustbench_fgsm.cli.output import progress_bar

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import Dataset
    from robustbench_fgsm.evaluation.checks import CheckOptions
    from robustbench_fgsm.models.classifier import Classifier
    from robustbench_fgsm.runs.manifest import EvaluationCommand, EvaluationRun
    from robustbench_fgsm.spec import AttackSpec

Document = dict[str, Any]


@dataclass(frozen=True)
class OutputOptions:
    """Where a run is kept, if anywhere, and how many example images at most."""

    out: Path | None
    max_example_images: int


def run_evaluation(
    command: EvaluationCommand,
    model_and_data: tuple[Classifier, Dataset],
    specs: Sequence[AttackSpec],
    batch_size_and_level: tuple[str, str],
    output_options: OutputOptions,
    apply_thresholds: Callable[[Document], Document],
    data_options: DataOptionGroup,
    checks: CheckOptions,
    *,
    thresholds: Mapping[str, float | None],
    quiet: bool,
) -> Document:
    """The document of that command, judged.

    specs: one attack for each targeting rule; speed: batch size and level; asked: what it is judged by, as numbers.
    Everything is checked before a run directory is made. Raises as `run_attacks` and `measure_run` do.
    """
    from robustbench_fgsm.engine.distributed import join_world
    from robustbench_fgsm.engine.plan import check_optimize_level, choose_plan
    from robustbench_fgsm.engine.preflight import check_batch_size, preflight_all
    from robustbench_fgsm.evaluation.checks import validate_checks
    from robustbench_fgsm.evaluation.evaluate import check_distinct_epsilons
    from robustbench_fgsm.runs.manifest import EvaluationRun, read_recorded_plan

    classifier, images = model_and_data
    batch_size, optimize = batch_size_and_level
    check_batch_size(batch_size)
    check_optimize_level(optimize)
    specs = tuple(replace(spec, bounds=classifier.bounds) for spec in specs)
    validate_checks(checks, specs, classifier)
    for spec in specs:
        check_distinct_epsilons(spec)
    warnings = preflight_all(classifier, images, specs, strict=data_options.strict)
    world, out = join_world(), output_options.out
    recorded = None if out is None or not world.is_main else read_recorded_plan(out)
    plan = world.broadcast(choose_plan(classifier, images, specs, optimize, batch_size, recorded) if world.is_main else None)
    run = EvaluationRun(
        command,
        classifier,
        images,
        specs,
        plan,
        data_options.max_bad,
        checks=checks,
        thresholds=thresholds,
        preflight_warnings=warnings,
    )
    return run_with_progress_bar(run, output_options, apply_thresholds, quiet=quiet)


def run_with_progress_bar(
    run: EvaluationRun, output_options: OutputOptions, apply_thresholds: Callable[[Document], Document], *, quiet: bool
) -> Document:
    """The run's document, judged, with a progress bar in the process that leads."""
    from robustbench_fgsm.engine.distributed import join_world
    from robustbench_fgsm.runs.evaluate import evaluate_in_directory

    world = join_world()
    with progress_bar(run.command, quiet=quiet or not world.is_main) as bar:
        return evaluate_in_directory(
            run,
            output_options.out,
            apply_thresholds=apply_thresholds,
            max_example_images=output_options.max_example_images,
            world=world,
            progress=bar,
            fooled_progress=bar.update_fooled,
            check_progress=bar.update_check,
        )
