"""One measurement for a command, kept in a run directory where one is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robustbench_fgsm.cli.bundles import DataChoice
from robustbench_fgsm.cli.output import progress_bar

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import Dataset
    from robustbench_fgsm.models.classifier import Classifier
    from robustbench_fgsm.spec import AttackSpec

Document = dict[str, Any]


def measure(
    command: Literal["evaluate", "sweep"],
    subject: tuple[Classifier, Dataset],
    specs: Sequence[AttackSpec],
    speed: tuple[str, str],
    out: Path | None,
    judge: Callable[[Document], Document],
    choice: DataChoice,
    *,
    quiet: bool,
) -> Document:
    """The document of that command, judged; specs: one attack for each targeting rule; speed: batch size and level.

    Everything is checked before a run directory is made. Raises as `run_attacks` and `cached_result` do.
    """
    import robustbench_fgsm
    from robustbench_fgsm.data.dataset import describe
    from robustbench_fgsm.measure.evaluation import sweep_document
    from robustbench_fgsm.measure.plan import check_level, plan_for
    from robustbench_fgsm.measure.preflight import check_batch_size, preflight
    from robustbench_fgsm.measure.sweep import check_budgets, run_attacks
    from robustbench_fgsm.runs.directory import cached_result
    from robustbench_fgsm.runs.planned import plan_settings, recorded_plan

    classifier, images = subject
    batch_size, optimize = speed
    size = check_batch_size(batch_size)
    check_level(optimize)
    specs = [replace(spec, bounds=classifier.bounds) for spec in specs]
    for spec in specs:
        check_budgets(spec)
        preflight(classifier, images, spec, strict=choice.strict)
    plan = plan_for(classifier, images, specs, optimize, batch_size, None if out is None else recorded_plan(out))

    def attack() -> Document:
        with progress_bar(command, quiet=quiet) as progress:
            found = run_attacks(classifier, images, specs, plan=plan, max_bad=choice.max_bad, progress=progress)
        return found[0].to_dict() if command == "evaluate" else sweep_document(found)

    if out is None:
        return judge(attack())
    settings = {
        "command": command,
        "model": classifier.info.to_dict(),
        "data": describe(images),
        "attacks": [spec.to_dict() | {"epsilons": spec.epsilons} for spec in specs],
        "batch_size": size,
        **plan_settings(plan),
        "max_bad": choice.max_bad,
        "device": str(classifier.device),
        "package": robustbench_fgsm.__version__,
    }
    return cached_result(out, settings, attack, judge)
