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
    import robustbench_fgsm
    from robustbench_fgsm.explanation.result import Claim
    from robustbench_fgsm.spec import AttackSpec, TargetRule, parse_epsilon, parse_norm

    claim = Claim.parse(value, n)
    order = parse_norm(norm)
    spec = AttackSpec(parse_epsilon(eps, order), order, TargetRule.parse(targeted), seed=seed)

    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import ResultFormat, progress_bar, write_result
    from robustbench_fgsm.data.dataset import describe_data
    from robustbench_fgsm.engine.batch_size import choose_batch_size
    from robustbench_fgsm.engine.preflight import check_batch_size, preflight
    from robustbench_fgsm.explanation.explain import check_explain_classifier, check_explain_spec, explain_spec
    from robustbench_fgsm.runs.directory import cached_result

    check_batch_size(batch_size)
    check_explain_spec(spec)
    classifier, images = load_model_and_data(
        model, weights, data, limit, device, data_options, model_options, seed=seed, quiet=quiet
    )
    preflight(classifier, images, spec, strict=data_options.strict)  # before a run directory is made
    check_explain_classifier(classifier, images)
    size = choose_batch_size(batch_size, classifier, images)

    def measure() -> dict[str, Any]:
        with progress_bar("explain", quiet=quiet) as progress:
            found = explain_spec(classifier, images, claim, spec, batch_size=size, max_bad=data_options.max_bad, progress=progress)
        return found.to_dict()

    settings = {
        "command": "explain",
        "claim": claim.to_dict(len(images)),
        "model": classifier.info.to_dict(),
        "data": describe_data(images),
        "attack": spec.to_dict() | {"epsilons": spec.epsilons},
        "batch_size": size,
        "device": str(classifier.device),
        "package": robustbench_fgsm.__version__,
    }
    document = measure() if out is None else cached_result(out, settings, measure)
    write_result(document, ResultFormat(json=json))
    code: int = document["exit_code"]
    return code
