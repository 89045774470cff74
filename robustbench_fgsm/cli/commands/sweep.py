"""`rfgsm sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_fgsm.cli import options
from robustbench_fgsm.cli.options import DataOptionGroup, ModelOptionGroup, expand_options


@expand_options
def sweep_command(
    model: options.Model,
    weights: options.Weights = "auto",
    data: options.Data = None,
    limit: options.Limit = None,
    eps: Annotated[str, typer.Option("--eps", help="Budgets in pixel space: 1,2,4/255 or 0.01,0.02.")] = "1,2,4,8,16/255",
    norm: options.Norm = "inf",
    targeted: Annotated[
        list[str],
        typer.Option(
            "--targeted",
            metavar="RULE",
            help="none, next, shift:2, random, least-likely or class:NAME; may be repeated.",
            show_default="none",
        ),
    ] = ["none"],  # noqa: B006  (read only)
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
    find_asr: Annotated[
        float | None,
        typer.Option("--find-asr", help="Name the first epsilon with this success rate, such as 0.5.", show_default=False),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Also draw accuracy over epsilon: .png, .svg or .pdf.", show_default=False),
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
    """Attack one model at many epsilons with one gradient for each image, untargeted, targeted or both.

    Prints accuracy over epsilon, the area under it, and the smallest epsilon that fools each image.

    Example: rfgsm sweep --model resnet18 --eps 1,2,4,8/255 --targeted none --targeted next --plot curve.png
    """
    from robustbench_fgsm.cli.output import ResultFormat, check_output, check_output_path
    from robustbench_fgsm.spec import AttackSpec, TargetRule, parse_epsilon, parse_norm

    output = ResultFormat(json, format, csv, html, out)
    check_output(output)
    check_output_path("--plot", plot)
    order = parse_norm(norm)
    budgets, rules = parse_epsilon(eps, order), dict.fromkeys(map(TargetRule.parse, targeted))
    specs = [AttackSpec(budgets, order, rule, loss, seed=seed, restarts=restarts, stable=stable) for rule in rules]

    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.cli.processes import join_processes
    from robustbench_fgsm.cli.run_evaluation import OutputOptions, run_evaluation
    from robustbench_fgsm.evaluation.checks import CheckOptions
    from robustbench_fgsm.evaluation.thresholds import check_share, find_epsilon_for_success
    from robustbench_fgsm.report.figures import curves
    from robustbench_fgsm.runs.directory import write_bytes

    check_share("find asr", find_asr)
    checks = CheckOptions(pgd_check, check_masking)
    kind = None if plot is None else curves.figure_format(plot)
    world = join_processes()
    quiet = quiet or not world.is_main
    place = world.local_device(device)
    subject = load_model_and_data(model, weights, data, limit, place, data_options, model_options, seed=seed, quiet=quiet)

    def judged(document: dict[str, Any]) -> dict[str, Any]:
        return find_epsilon_for_success(document, find_asr)

    speed, asked = (batch_size, optimize), {"find_asr": find_asr}
    document = run_evaluation(
        "sweep", subject, specs, speed, OutputOptions(out, keep_images), judged, data_options, checks, thresholds=asked, quiet=quiet
    )
    code: int = document["exit_code"]
    if not world.is_main:
        return code
    if plot is not None and kind is not None:
        write_bytes(plot, curves.encode_figure(curves.draw_accuracy_over_epsilon(document), kind))
    write_result(document, output)
    return code
