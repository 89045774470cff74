"""Run a command of the library with or without a run directory; evaluate and sweep in all processes that torchrun started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from robustbench_fgsm.cli.options import OutputOptions
from robustbench_fgsm.cli.output import progress_bar, write_result

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import Dataset
    from robustbench_fgsm.evaluation.document import Document
    from robustbench_fgsm.models.classifier import Classifier
    from robustbench_fgsm.options import CheckOptions, RunOptions
    from robustbench_fgsm.runs.evaluation_run import EvaluationRun
    from robustbench_fgsm.runs.manifest import EvaluationCommand
    from robustbench_fgsm.spec import AttackSpec


def run_evaluation(
    command: EvaluationCommand,
    model_and_data: tuple[Classifier, Dataset],
    specs: Sequence[AttackSpec],
    checks: CheckOptions,
    run_options: RunOptions,
    output: OutputOptions,
    apply_thresholds: Callable[[Document], Document],
    thresholds: Mapping[str, float | None],
) -> Document:
    """Return the document of the command, with its thresholds applied; there is one attack for each targeting rule.

    Everything is validated before a run directory is made. Raises as `run_attacks` and `evaluate_in_directory` do.
    """
    from robustbench_fgsm.attack.outputs import read_for_loss
    from robustbench_fgsm.engine.choose_plan import choose_plan
    from robustbench_fgsm.engine.distributed import join_world
    from robustbench_fgsm.engine.plan import check_optimize_level
    from robustbench_fgsm.engine.preflight import preflight_all
    from robustbench_fgsm.evaluation.checks import validate_checks
    from robustbench_fgsm.evaluation.evaluate import check_distinct_epsilons
    from robustbench_fgsm.runs.evaluation_run import EvaluationRun
    from robustbench_fgsm.runs.manifest import read_recorded_plan

    classifier, images = model_and_data
    classifier = read_for_loss(classifier, specs[0].loss)
    check_optimize_level(run_options.optimize)
    validate_checks(checks, specs, classifier)
    for spec in specs:
        check_distinct_epsilons(spec)
    warnings = preflight_all(classifier, images, specs, strict=run_options.strict)
    world, out = join_world(), output.out
    recorded = None if out is None or not world.is_main else read_recorded_plan(out)
    plan = world.broadcast(choose_plan(classifier, images, specs, run_options, recorded) if world.is_main else None)
    run = EvaluationRun(
        command,
        classifier,
        images,
        tuple(specs),
        plan,
        run_options.max_bad,
        checks=checks,
        thresholds=thresholds,
        preflight_warnings=warnings,
    )
    return run_with_progress_bar(run, output, apply_thresholds)


def run_with_progress_bar(run: EvaluationRun, output: OutputOptions, apply_thresholds: Callable[[Document], Document]) -> Document:
    """Return the document of the run, with its thresholds applied; the main process shows a progress bar."""
    from robustbench_fgsm.engine.distributed import join_world
    from robustbench_fgsm.runs.evaluate import evaluate_in_directory

    world = join_world()
    with progress_bar(run.command, quiet=output.quiet or not world.is_main) as bar:
        return evaluate_in_directory(
            run,
            output.out,
            apply_thresholds=apply_thresholds,
            max_example_images=output.keep_images,
            world=world,
            progress=bar,
            fooled_progress=bar.update_fooled,
            check_progress=bar.update_check,
        )


def measure_and_write(
    command: str,
    model_and_data: tuple[Classifier, Dataset],
    spec: AttackSpec,
    max_bad: int,
    output: OutputOptions,
    measure: Callable[[], Document],
    **settings: Any,
) -> int:
    """Measure, unless the run directory holds the result; write the document, and return its exit code.

    settings: those of the command for `run_settings`. Raises as `RunDirectory` and `write_result` do.
    """
    from robustbench_fgsm.runs.directory import RunDirectory
    from robustbench_fgsm.runs.settings import run_settings

    hashed = output.out is not None
    all_settings = partial(run_settings, command, *model_and_data, spec, max_bad=max_bad, hash_images=hashed, **settings)
    with RunDirectory(output.out, all_settings) as run:
        document = run.write_result(run.result or measure())
    return write_result(document, output)
