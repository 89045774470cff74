"""`rfgsm compare`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from robustbench_fgsm.cli import options
from robustbench_fgsm.cli.options import DataOptionGroup, ModelOptionGroup, expand_options


@expand_options
def compare_command(
    model: options.Model,
    weights: options.Weights = "auto",
    data: options.Data = None,
    limit: options.Limit = None,
    eps: options.Eps = "8/255",
    norm: options.Norm = "inf",
    targeted: options.Targeted = "none",
    references: Annotated[str, typer.Option("--references", help="Other libraries, as a comma list, or none.")] = "art",
    candidate: Annotated[
        str | None,
        typer.Option(
            "--candidate",
            metavar="SPEC",
            help="Your own FGSM: file.py:fn, pkg.mod:fn, or saved images as .npz or .safetensors.",
            show_default=False,
        ),
    ] = None,
    style: options.Style = "plain",
    batch_size: options.BatchSize = "auto",
    optimize: options.Optimize = "none",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    data_options: DataOptionGroup = DataOptionGroup(),
    model_options: ModelOptionGroup = ModelOptionGroup(),
    out: options.Out = None,
    html: options.Html = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
) -> int:
    """Compare our FGSM with other libraries', and with your own, on one model and data set.

    Prints agreement pixel by pixel and prediction by prediction, both confusion matrices, the success rate of each
    class, and the time each side took. Exit 0: they agree. Exit 1: they do not.

    Example: rfgsm compare --model resnet18 --eps 8/255
    """
    from robustbench_fgsm.cli.output import check_output_path
    from robustbench_fgsm.spec import AttackSpec, TargetRule, parse_epsilon, parse_norm

    check_output_path("--html", html)
    order = parse_norm(norm)
    spec = AttackSpec(parse_epsilon(eps, order), order, TargetRule.parse(targeted), seed=seed)

    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import progress_bar, stdout_to_stderr, write_html, write_result
    from robustbench_fgsm.comparison.compare import check_opponents, compare_spec, load_candidate_or_images
    from robustbench_fgsm.engine.plan import check_optimize_level, choose_plan
    from robustbench_fgsm.engine.preflight import check_batch_size, check_single_epsilon, preflight
    from robustbench_fgsm.references.candidate_styles import get_style
    from robustbench_fgsm.references.registry import REFERENCES, check_references
    from robustbench_fgsm.report.documents import comparison
    from robustbench_fgsm.runs.directory import RunDirectory
    from robustbench_fgsm.runs.manifest import read_recorded_plan
    from robustbench_fgsm.runs.settings import run_settings

    check_single_epsilon(spec)
    check_optimize_level(optimize)
    get_style(style)
    check_batch_size(batch_size)
    names = [] if references.strip() == "none" else check_references(references.split(","))
    check_opponents(names, candidate)
    classifier, images = load_model_and_data(
        model, weights, data, limit, device, data_options, model_options, seed=seed, quiet=quiet
    )
    warnings = preflight(classifier, images, spec, strict=data_options.strict)  # before a run directory is made
    with stdout_to_stderr():
        own = load_candidate_or_images(candidate, style, images)
    recorded = None if out is None else read_recorded_plan(out)
    plan = choose_plan(classifier, images, [spec], optimize, batch_size, recorded, record_changes=True)

    def measure() -> dict[str, Any]:
        with stdout_to_stderr(), progress_bar("compare", quiet=quiet) as progress:
            found = compare_spec(
                classifier,
                images,
                spec,
                references=names,
                candidate=own,
                batch_size=plan.batch_size,
                plan=plan,
                max_bad=data_options.max_bad,
                warnings=warnings,
                progress=progress,
            )
        return found.to_dict()

    settings = run_settings(
        "compare",
        classifier,
        images,
        spec,
        max_bad=data_options.max_bad,
        plan=plan,
        references={name: entry.installed_version for name, entry in REFERENCES.entries().items() if name in names},
        **({} if own is None else {"candidate": {"spec": candidate, "style": style, "sha256": own.sha256}}),
    )
    with RunDirectory(out, settings) as run:
        document = run.write_result(run.result or measure())
    write_html(html, document, out)
    write_result(document, comparison.render_comparison, as_json=json)
    code: int = document["exit_code"]
    return code
