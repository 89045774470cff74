"""The command `rfgsm explain`: definitions and mistakes behind reported numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import RUN_OPTIONS, DataOptions, ModelOptions, OutputOptions
from robustbench_fgsm.options import AttackOptions, Option, RunOptions


@expand_options
def explain_command(
    *,
    value: Annotated[
        list[str],
        typer.Argument(metavar="VALUE", help="Reported numbers of one attack, with their digits: 0.37 or 37%.", show_default=False),
    ],
    model_options: Annotated[ModelOptions, Variant(without=("task",))],
    data_options: DataOptions,
    attack: Annotated[
        AttackOptions,
        Variant(
            without=("epsilon_scale", "loss", "stable", "restarts"),
            options={
                "epsilon": Option("Budget in pixel space: one, or one for each VALUE."),
                "norm": Option("inf only: for other norms no mistakes are known."),
            },
        ),
    ],
    n: Annotated[
        int | None, Option("Images behind the reported numbers.", default_text="as many as are measured", panel="Checks")
    ] = None,
    run_options: Annotated[RunOptions, Variant(without=("optimize",))],
    output: Annotated[OutputOptions, Variant(only=RUN_OPTIONS)],
) -> int:
    """Find the definition, unit, labels and known mistake that give reported numbers.

    Tries the right attack and each known mistake that changes the numbers, under every definition of robustness and
    success. Lists what gives all numbers within their sampling error, exact matches first. Always exit 0.

    Example: rfgsm explain 0.37 --model mlp300 --eps 8/255

    Example: rfgsm explain 0.76 0.57 --model mlp300 --eps 4,8/255
    """
    from robustbench_fgsm.cli.output import check_output_options
    from robustbench_fgsm.explanation.claim import check_explain_spec, parse_claims

    check_output_options(output)
    claims = parse_claims(value, n)
    spec = attack.to_spec(model_options.expected_bounds)
    check_explain_spec(spec, claims)

    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import progress_bar
    from robustbench_fgsm.cli.run_evaluation import measure_and_write
    from robustbench_fgsm.engine.batch_size import choose_batch_size
    from robustbench_fgsm.engine.preflight import check_batch_size, preflight
    from robustbench_fgsm.explanation.explain import check_explain_classifier, explain_spec

    check_batch_size(run_options.batch_size)
    classifier, images = load_model_and_data(model_options, data_options, seed=attack.seed, quiet=output.quiet)
    spec = attack.to_spec(classifier.bounds)
    warnings = preflight(classifier, images, spec, strict=run_options.strict)  # before a run directory is made
    check_explain_classifier(classifier, images)
    run_options = replace(run_options, batch_size=choose_batch_size(run_options.batch_size, classifier, images))

    def measure() -> dict[str, Any]:
        with progress_bar("explain", quiet=output.quiet) as progress:
            return explain_spec(classifier, images, claims, spec, run_options, warnings=warnings, progress=progress).to_dict()

    settings = {"claims": [claim.to_dict(len(images)) for claim in claims], "batch_size": run_options.batch_size}
    return measure_and_write("explain", (classifier, images), spec, run_options.max_bad, output, measure, **settings)
