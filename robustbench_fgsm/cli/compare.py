"""`rfgsm compare`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from robustbench_fgsm.cli import options
from robustbench_fgsm.cli.model_options import ModelOptions, takes_model_options


@takes_model_options
def compare_command(
    model: options.Model,
    weights: options.Weights = "auto",
    data: options.Data = None,
    limit: options.Limit = None,
    eps: options.Eps = "8/255",
    norm: options.Norm = "inf",
    targeted: options.Targeted = "none",
    references: Annotated[str, typer.Option("--references", help="Other libraries, as a comma list.")] = "art",
    batch_size: options.BatchSize = "auto",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    out: options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
    *,
    model_options: ModelOptions,
) -> int:
    """Compare our FGSM with other libraries' on one model and data set.

    Prints agreement pixel by pixel and prediction by prediction, both confusion matrices, the success rate of each
    class, and the time each side took. Exit 0: they agree. Exit 1: they do not.

    Example: rfgsm compare --model resnet18 --eps 8/255
    """
    from robustbench_fgsm.spec import AttackSpec, TargetRule, parse_epsilon, parse_norm

    order = parse_norm(norm)
    spec = AttackSpec(parse_epsilon(eps, order), order, TargetRule.parse(targeted), seed=seed)

    from robustbench_fgsm.cli.output import progress_bar, write_result
    from robustbench_fgsm.cli.subject import load_subject
    from robustbench_fgsm.compare.compare import compare_spec
    from robustbench_fgsm.data.dataset import describe
    from robustbench_fgsm.measure.preflight import check_batch_size, check_single, preflight
    from robustbench_fgsm.reference import check_references
    from robustbench_fgsm.report import terminal
    from robustbench_fgsm.runs.directory import cached_result

    check_single(spec)
    size, names = check_batch_size(batch_size), check_references(references.split(","))
    classifier, images = load_subject(model, weights, data, limit, device, model_options, quiet=quiet)
    preflight(classifier, images, spec)  # before a run directory is made

    def measure() -> dict[str, Any]:
        with progress_bar("compare", quiet=quiet) as progress:
            found = compare_spec(classifier, images, spec, references=names, batch_size=size, progress=progress)
        return found.to_dict()

    settings = {
        "command": "compare",
        "model": classifier.info.to_dict(),
        "data": describe(images),
        "attack": spec.to_dict() | {"epsilons": spec.epsilons},
        "references": names,
        "batch_size": size,
    }
    document = measure() if out is None else cached_result(out, settings, measure)
    write_result(document, terminal.comparison, as_json=json)
    code: int = document["exit_code"]
    return code
