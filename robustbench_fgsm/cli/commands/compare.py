"""The command `rfgsm compare`: our FGSM against other implementations."""

from __future__ import annotations

from typing import Annotated, Any

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import RUN_OPTIONS, DataOptions, ModelOptions, OutputOptions
from robustbench_fgsm.options import AttackOptions, OpponentOptions, RunOptions, VerifyOptions
from robustbench_fgsm.spec import check_single_epsilon


@expand_options
def compare_command(
    *,
    model_options: ModelOptions,
    data_options: DataOptions,
    attack: Annotated[AttackOptions, Variant(without=("stable", "restarts"))],
    opponents: OpponentOptions,
    candidate_style: Annotated[VerifyOptions, Variant(only=("style",))],
    run_options: Annotated[RunOptions, Variant(defaults={"optimize": "none"})],
    output: Annotated[OutputOptions, Variant(only=(*RUN_OPTIONS, "junit"))],
) -> int:
    """Compare our FGSM with other libraries', and with your own, on one model and data set.

    Prints agreement pixel by pixel and prediction by prediction, both confusion matrices, the success rate of each
    class, and the time each side took. Exit 0: they agree. Exit 1: they do not.

    Example: rfgsm compare --model resnet18 --eps 8/255
    """
    spec, style = attack.to_spec(model_options.expected_bounds), candidate_style.style
    check_single_epsilon(spec)

    from robustbench_fgsm.attack.outputs import read_for_loss
    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import progress_bar
    from robustbench_fgsm.cli.run_evaluation import measure_and_write
    from robustbench_fgsm.comparison.compare import Opponents, compare_spec, load_candidate_or_images
    from robustbench_fgsm.engine.choose_plan import choose_plan
    from robustbench_fgsm.engine.plan import check_optimize_level
    from robustbench_fgsm.engine.preflight import preflight
    from robustbench_fgsm.references.candidate_styles import get_style
    from robustbench_fgsm.references.registry import REFERENCES, check_references
    from robustbench_fgsm.runs.manifest import read_recorded_plan

    check_optimize_level(run_options.optimize)
    get_style(style)
    names, candidate, ignored = check_references(opponents.references), opponents.candidate, tuple(opponents.ignore)
    classifier, images = load_model_and_data(
        model_options, data_options, seed=attack.seed, epsilon_scale=attack.epsilon_scale, quiet=output.quiet
    )
    spec = attack.to_spec(classifier.bounds)
    classifier = read_for_loss(classifier, spec.loss)
    warnings = preflight(classifier, images, spec, strict=run_options.strict)  # before a run directory is made
    own = load_candidate_or_images(candidate, style, images, classifier)
    recorded = None if output.out is None else read_recorded_plan(output.out)
    plan = choose_plan(classifier, images, [spec], run_options, recorded, audited=False)

    def measure() -> dict[str, Any]:
        with progress_bar("compare", quiet=output.quiet) as progress:
            found = compare_spec(
                classifier,
                images,
                spec,
                Opponents(names, own, ignored),
                run_options,
                plan=plan,
                warnings=warnings,
                progress=progress,
            )
        return found.to_dict()

    settings = {
        "plan": plan,
        "references": {name: entry.installed_version for name, entry in REFERENCES.entries().items() if name in names},
        **({"ignore": list(ignored)} if ignored else {}),
        **({} if own is None else {"candidate": {"spec": candidate, "style": style, "sha256": own.sha256}}),
    }
    return measure_and_write("compare", (classifier, images), spec, run_options.max_bad, output, measure, **settings)
