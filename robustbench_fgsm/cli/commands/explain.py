"""`rfgsm explain`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from robustbench_fgsm.cli import options
from robustbench_fgsm.cli.options import DataOptionGroup, ModelOptionGroup, expand_options


@expand_options
def explain_command(
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="What is reported, with its digits: 0.37 or 37%.", show_default=False)
    ],
    model: options.Model,
    weights: options.Weights = "auto",
    data: options.Data = None,
    limit: options.Limit = None,
    eps: options.Eps = "8/255",
    norm: Annotated[str, typer.Option("--norm", help="inf alone: the mistakes of others are not known.")] = "inf",
    targeted: options.Targeted = "none",
    n: Annotated[
        int | None,
        typer.Option("--n", help="Images that the number speaks of.", show_default="as many as are measured"),
    ] = None,
    batch_size: options.BatchSize = "auto",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    data_options: DataOptionGroup = DataOptionGroup(),
    model_options: ModelOptionGroup = ModelOptionGroup(),
    out: options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
) -> int:
    """Say which definition, unit, labels and known mistake give a number that somebody reports.

    Tries the right attack and each known mistake that changes the number, under every definition of robustness and
    success, and lists what fits the number within its sampling error, the honest figures first. Exit 0 whatever fits.

    Example: rfgsm explain 0.37 --model mlp300 --eps 8/255
    """
    from robustbench_fgsm.explanation.result import Claim
    from robustbench_fgsm.spec import AttackSpec, TargetRule, parse_epsilon, parse_norm

    claim = Claim.parse(value, n)
    order = parse_norm(norm)
    spec = AttackSpec(parse_epsilon(eps, order), order, TargetRule.parse(targeted), seed=seed)

    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import progress_bar, write_result
    from robustbench_fgsm.engine.batch_size import choose_batch_size
    from robustbench_fgsm.engine.preflight import check_batch_size, preflight
    from robustbench_fgsm.explanation.explain import check_explain_classifier, check_explain_spec, explain_spec
    from robustbench_fgsm.report.documents import explanation
    from robustbench_fgsm.runs.directory import RunDirectory
    from robustbench_fgsm.runs.settings import run_settings

    check_batch_size(batch_size)
    check_explain_spec(spec)
    classifier, images = load_model_and_data(
        model, weights, data, limit, device, data_options, model_options, seed=seed, quiet=quiet
    )
    warnings = preflight(classifier, images, spec, strict=data_options.strict)  # before a run directory is made
    check_explain_classifier(classifier, images)
    size = choose_batch_size(batch_size, classifier, images)

    def measure() -> dict[str, Any]:
        with progress_bar("explain", quiet=quiet) as progress:
            found = explain_spec(
                classifier,
                images,
                claim,
                spec,
                batch_size=size,
                max_bad=data_options.max_bad,
                warnings=warnings,
                progress=progress,
            )
        return found.to_dict()

    claimed = claim.to_dict(len(images))
    settings = run_settings("explain", classifier, images, spec, max_bad=data_options.max_bad, claim=claimed, batch_size=size)
    with RunDirectory(out, settings) as run:
        document = run.write_result(run.result or measure())
    write_result(document, explanation.render_explanation, as_json=json)
    code: int = document["exit_code"]
    return code
