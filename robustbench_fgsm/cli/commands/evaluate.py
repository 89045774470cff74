"""`rfgsm evaluate`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from robustbench_fgsm.cli import options
from robustbench_fgsm.cli.options import DataOptionGroup, ModelOptionGroup, expand_options


@expand_options
def evaluate_command(
    model: options.Model,
    weights: options.Weights = "auto",
    data: options.Data = None,
    limit: options.Limit = None,
    eps: options.Eps = "8/255",
    norm: options.Norm = "inf",
    targeted: options.Targeted = "none",
    loss: options.Loss = "ce",
    stable: options.Stable = False,
    restarts: options.Restarts = 0,
    pgd_check: options.PgdCheck = 0,
    check_masking: options.CheckMasking = False,
    batch_size: options.BatchSize = "auto",
    optimize: options.Optimize = "safe",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    data_options: DataOptionGroup = DataOptionGroup(),
    model_options: ModelOptionGroup = ModelOptionGroup(),
    min_robust_accuracy: Annotated[
        float | None,
        typer.Option("--min-robust-accuracy", help="Exit 1 below this share, such as 0.4.", show_default=False),
    ] = None,
    max_asr: Annotated[
        float | None,
        typer.Option("--max-asr", help="Exit 1 above this attack success rate, such as 0.5.", show_default=False),
    ] = None,
    out: options.Out = None,
    keep_images: options.KeepImages = 500,
    csv: options.Csv = None,
    html: options.Html = None,
    format: options.Format = options.TableFormat.table,  # noqa: A002  (the name of the option)
    json: options.Json = False,
    quiet: options.Quiet = False,
    log_dir: options.LogDir = None,  # noqa: ARG001  (read by main, before anything is said)
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
) -> int:
    """Attack one model at one epsilon: confusion matrices, success class by class, and the gradient's health.

    Exit 0: done, and the gates pass. Exit 1: a gate fails, or a gradient is not finite.

    Example: rfgsm evaluate --model resnet18 --eps 8/255 --min-robust-accuracy 0.1
    """
    from robustbench_fgsm.cli.output import ResultFormat, check_output
    from robustbench_fgsm.spec import AttackSpec, TargetRule, parse_epsilon, parse_norm

    output = ResultFormat(json, format, csv, html, out)
    check_output(output)
    order = parse_norm(norm)
    rule = TargetRule.parse(targeted)
    spec = AttackSpec(parse_epsilon(eps, order), order, rule, loss, seed=seed, restarts=restarts, stable=stable)

    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.cli.processes import join_processes
    from robustbench_fgsm.cli.run_evaluation import OutputOptions, run_evaluation
    from robustbench_fgsm.engine.preflight import check_single_epsilon
    from robustbench_fgsm.evaluation.checks import CheckOptions
    from robustbench_fgsm.evaluation.thresholds import Thresholds, apply_thresholds

    check_single_epsilon(spec)
    checks = CheckOptions(pgd_check, check_masking)
    gates = Thresholds(min_robust_accuracy, max_asr)
    world = join_processes()
    quiet = quiet or not world.is_main
    place = world.local_device(device)
    subject = load_model_and_data(model, weights, data, limit, place, data_options, model_options, seed=seed, quiet=quiet)

    def judged(document: dict[str, Any]) -> dict[str, Any]:
        return apply_thresholds(document, gates)

    speed, asked = (batch_size, optimize), asdict(gates)
    document = run_evaluation(
        "evaluate",
        subject,
        [spec],
        speed,
        OutputOptions(out, keep_images),
        judged,
        data_options,
        checks,
        thresholds=asked,
        quiet=quiet,
    )
    code: int = document["exit_code"]
    if not world.is_main:
        return code
    write_result(document, output)
    return code
