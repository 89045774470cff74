"""One measurement for a command, by all processes that torchrun started, kept in a run directory where one is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustbench_fgsm.cli.options import DataChoice
from robustbench_fgsm.cli.output import progress_bar

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import Dataset
    from robustbench_fgsm.evaluation.checks import Checks
    from robustbench_fgsm.models.classifier import Classifier
    from robustbench_fgsm.runs.manifest import Command, Run
    from robustbench_fgsm.spec import AttackSpec

Document = dict[str, Any]


@dataclass(frozen=True)
class Keeping:
    """Where a run is kept, if anywhere, and how many example images at most."""

    out: Path | None
    images: int


def measure(
    command: Command,
    subject: tuple[Classifier, Dataset],
    specs: Sequence[AttackSpec],
    speed: tuple[str, str],
    keeping: Keeping,
    judge: Callable[[Document], Document],
    choice: DataChoice,
    checks: Checks,
    *,
    asked: Mapping[str, float | None],
    quiet: bool,
) -> Document:
    """The document of that command, judged.

    specs: one attack for each targeting rule; speed: batch size and level; asked: what it is judged by, as numbers.
    Everything is checked before a run directory is made. Raises as `run_attacks` and `measure_run` do.
    """
    from robustbench_fgsm.engine.distributed import join
    from robustbench_fgsm.engine.plan import check_level, plan_for
    from robustbench_fgsm.engine.preflight import check_batch_size, preflight_all
    from robustbench_fgsm.evaluation.checks import check_askable
    from robustbench_fgsm.evaluation.evaluate import check_budgets
    from robustbench_fgsm.runs.manifest import Run, recorded_plan

    classifier, images = subject
    batch_size, optimize = speed
    check_batch_size(batch_size)
    check_level(optimize)
    specs = tuple(replace(spec, bounds=classifier.bounds) for spec in specs)
    check_askable(checks, specs, classifier)
    for spec in specs:
        check_budgets(spec)
    warnings = preflight_all(classifier, images, specs, strict=choice.strict)
    world, out = join(), keeping.out
    recorded = None if out is None or not world.leads else recorded_plan(out)
    plan = world.first(plan_for(classifier, images, specs, optimize, batch_size, recorded) if world.leads else None)
    run = Run(command, classifier, images, specs, plan, choice.max_bad, checks=checks, asked=asked, warnings=warnings)
    world.check_same(run.settings() | {"--out": out, "--keep-images": keeping.images})
    return measured(run, keeping, judge, quiet=quiet)


def measured(run: Run, keeping: Keeping, judge: Callable[[Document], Document], *, quiet: bool) -> Document:
    """The run's document, judged, with a progress bar in the process that leads."""
    from robustbench_fgsm.engine.distributed import join
    from robustbench_fgsm.evaluation.evaluate import run_attacks
    from robustbench_fgsm.runs.evaluate import document_of, measure_run

    world = join()
    with progress_bar(run.command, quiet=quiet or not world.leads) as bar:
        if keeping.out is not None:
            return measure_run(
                run,
                keeping.out,
                judge=judge,
                keep=keeping.images,
                world=world,
                progress=bar,
                watch=bar.watch,
                checking=bar.check,
            )
        found = run_attacks(
            run.classifier,
            run.data,
            run.specs,
            plan=run.plan,
            checks=run.checks,
            max_bad=run.max_bad,
            warnings=run.warnings,
            progress=bar,
            watch=bar.watch,
            checking=bar.check,
            world=world,
        )
    return judge(document_of(run.command, found))
