"""`rfgsm sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_fgsm.cli import options
from robustbench_fgsm.cli.options import DataChoice, ModelChoice, laid_open


@laid_open
def sweep_command(
    model: options.Model,
    weights: options.Weights = "auto",
    data: options.Data = None,
    limit: options.Limit = None,
    eps: Annotated[
        str, typer.Option("--eps", help="Budgets in pixel space: 1,2,4/255 or 0.01,0.02.")
    ] = "1,2,4,8,16/255",
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
    choice: DataChoice = DataChoice(),
    described: ModelChoice = ModelChoice(),
    find_asr: Annotated[
        float | None,
        typer.Option(
            "--find-asr", help="Name the first epsilon with this success rate, such as 0.5.", show_default=False
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Also draw accuracy over epsilon: .png, .svg or .pdf.", show_default=False
        ),
    ] = None,
    out: options.Out = None,
    keep_images: options.KeepImages = 500,
    csv: options.Csv = None,
    html: options.Html = None,
    format: options.Format = options.Layout.table,  # noqa: A002  (the name of the option)
    json: options.Json = False,
    quiet: options.Quiet = False,
    log_dir: options.LogDir = None,  # noqa: ARG001  (read by main, before anything is said)
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
) -> int:
    """Attack one model at many epsilons with one gradient for each image, untargeted, targeted or both.

    Prints accuracy over epsilon, the area under it, and the smallest epsilon that fools each image.

    Example: rfgsm sweep --model resnet18 --eps 1,2,4,8/255 --targeted none --targeted next --plot curve.png
    """
    from robustbench_fgsm.cli.output import check_csv, check_file, check_layout
    from robustbench_fgsm.spec import AttackSpec, TargetRule, parse_epsilon, parse_norm

    check_layout(format, as_json=json)
    check_csv(csv)
    check_file("--html", html)
    check_file("--plot", plot)
    order = parse_norm(norm)
    budgets, rules = parse_epsilon(eps, order), dict.fromkeys(map(TargetRule.parse, targeted))
    specs = [AttackSpec(budgets, order, rule, loss, seed=seed, restarts=restarts, stable=stable) for rule in rules]

    from robustbench_fgsm.cli.load import load_subject
    from robustbench_fgsm.cli.output import write_csv, write_html, write_result
    from robustbench_fgsm.cli.processes import joined
    from robustbench_fgsm.cli.run_evaluation import Keeping, measure
    from robustbench_fgsm.evaluation.checks import Checks
    from robustbench_fgsm.evaluation.thresholds import check_share, find_success
    from robustbench_fgsm.report.documents import evaluation, markdown
    from robustbench_fgsm.report.figures import curves
    from robustbench_fgsm.runs.directory import write_bytes

    check_share("find asr", find_asr)
    checks = Checks(pgd_check, check_masking)
    kind = None if plot is None else curves.figure_format(plot)
    world = joined()
    quiet = quiet or not world.leads
    place = world.device(device)
    subject = load_subject(model, weights, data, limit, place, choice, described, seed=seed, quiet=quiet)

    def judged(document: dict[str, Any]) -> dict[str, Any]:
        return find_success(document, find_asr)

    speed, asked = (batch_size, optimize), {"find_asr": find_asr}
    document = measure(
        "sweep", subject, specs, speed, Keeping(out, keep_images), judged, choice, checks, asked=asked, quiet=quiet
    )
    code: int = document["exit_code"]
    if not world.leads:
        return code
    write_csv(csv, document)
    write_html(html, document, out)
    if plot is not None and kind is not None:
        write_bytes(plot, curves.render(curves.accuracy_over_epsilon(document), kind))
    render = markdown.sweep if format is options.Layout.markdown else evaluation.sweep
    write_result(document, render, as_json=json)
    return code
