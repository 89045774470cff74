"""The command `rfgsm sweep`: one model at many epsilons."""

from __future__ import annotations

from typing import Annotated, Any

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import DataOptions, ModelOptions, OutputOptions
from robustbench_fgsm.options import SWEEP_EPSILONS, AttackOptions, CheckOptions, DistanceOptions, Option, RunOptions

SWEEP_VARIANT = Variant(
    defaults={"epsilon": SWEEP_EPSILONS},
    options={
        "epsilon": Option("Budgets in the units of the images: 1,2,4/255 or 0.01,0.02."),
        "targeted": Option(
            "none, next, shift:2, random, least-likely or class:NAME. May be repeated.",
            metavar="RULE",
            default_text="none",
            multiple=True,
        ),
    },
)


@expand_options
def sweep_command(
    *,
    model_options: ModelOptions,
    data_options: DataOptions,
    attack: Annotated[AttackOptions, SWEEP_VARIANT],
    distance_options: DistanceOptions,
    checks: CheckOptions,
    run_options: RunOptions,
    find_asr: Annotated[
        float | None, Option("Report the first epsilon with this success rate, such as 0.5.", panel="Gates")
    ] = None,
    output: OutputOptions,
) -> int:
    """Attack one model at many epsilons with one gradient for each image, untargeted, targeted or both.

    Prints accuracy over epsilon, the area under it, and the smallest epsilon that fools each image.

    Example: rfgsm sweep --model resnet18 --eps 1,2,4,8/255 --targeted none --targeted next --plot curve.png
    """
    from robustbench_fgsm.options import check_share

    check_share("find asr", find_asr)
    distance_options.apply(attack.to_specs(model_options.expected_bounds))

    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.cli.processes import join_processes
    from robustbench_fgsm.cli.run_evaluation import run_evaluation
    from robustbench_fgsm.evaluation.thresholds import find_epsilon_for_success

    world, model_options, output = join_processes(model_options, output)
    classifier, images = load_model_and_data(
        model_options, data_options, seed=attack.seed, epsilon_scale=attack.epsilon_scale, quiet=output.quiet
    )

    def judge(document: dict[str, Any]) -> dict[str, Any]:
        return find_epsilon_for_success(document, find_asr)

    specs = distance_options.apply(attack.to_specs(classifier.bounds))
    document = run_evaluation("sweep", (classifier, images), specs, checks, run_options, output, judge, {"find_asr": find_asr})
    return write_result(document, output, is_main=world.is_main)
