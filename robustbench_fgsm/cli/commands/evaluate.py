"""The command `rfgsm evaluate`: one model at one epsilon."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import DataOptions, ModelOptions, OutputOptions
from robustbench_fgsm.options import AttackOptions, CheckOptions, DistanceOptions, RunOptions, Thresholds
from robustbench_fgsm.spec import check_single_epsilon


@expand_options
def evaluate_command(
    model_options: ModelOptions,
    data_options: DataOptions,
    attack: AttackOptions,
    distance_options: DistanceOptions,
    checks: CheckOptions,
    thresholds: Thresholds,
    run_options: RunOptions,
    output: Annotated[OutputOptions, Variant(without=("plot",))],
) -> int:
    """Attack one model at one epsilon: confusion matrices, success class by class, and the gradient's health.

    Exit 0: done, and the gates pass. Exit 1: a gate fails, or a gradient is not finite.

    Example: rfgsm evaluate --model resnet18 --eps 8/255 --min-robust-accuracy 0.1
    """
    (spec,) = distance_options.apply([attack.to_spec(model_options.expected_bounds)])
    check_single_epsilon(spec)

    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.cli.processes import join_processes
    from robustbench_fgsm.cli.run_evaluation import run_evaluation
    from robustbench_fgsm.evaluation.thresholds import apply_thresholds

    world, model_options, output = join_processes(model_options, output)
    classifier, images = load_model_and_data(
        model_options, data_options, seed=attack.seed, epsilon_scale=attack.epsilon_scale, quiet=output.quiet
    )

    def judge(document: dict[str, Any]) -> dict[str, Any]:
        return apply_thresholds(document, thresholds)

    document = run_evaluation(
        "evaluate",
        (classifier, images),
        distance_options.apply([attack.to_spec(classifier.bounds)]),
        checks,
        run_options,
        output,
        judge,
        asdict(thresholds),
    )
    return write_result(document, output, is_main=world.is_main)
