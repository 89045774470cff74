"""The command `rfgsm gate`: a run against its baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import VERDICT_OPTIONS, GateOptions, OutputOptions, check_output_path
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.options import Option


@expand_options
def gate_command(
    gate_options: GateOptions,
    output: Annotated[OutputOptions, Variant(only=VERDICT_OPTIONS)],
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Directory made with --out by evaluate or sweep.", show_default=False)
    ] = None,
    baseline: Annotated[
        Path | None, Option("Directory of the baseline's run, or a file made by rfgsm lock.", metavar="RUN", panel="Gates")
    ] = None,
    plan: Annotated[
        Path | None,
        Option("Say how many images a gate needs, from this pilot run, or from two: --plan RUN RUN.", metavar="RUN", panel="Gates"),
    ] = None,
    drops: Annotated[str | None, Option("Drops to plan for; default 0.02,0.03,0.05,0.1.", metavar="D,...", panel="Gates")] = None,
    badge: Annotated[Path | None, Option("Also write a badge for shields.io as JSON.", metavar="FILE", panel="Output")] = None,
) -> int:
    """Fail a build if robust or clean accuracy fell from a baseline to a run, over all images or in a class.

    Both runs must be on the same images with the same attack: outcomes are paired image by image. Exit 0: passed.
    Exit 1: failed. Exit 2: the runs cannot be compared.

    In a job of GitHub Actions the tables are added to its summary, and a failure is an annotation.

    Example: rfgsm gate results/new --baseline robustness.lock --max-drop 0.01
    """
    if plan is not None:
        return _write_plan(
            plan, run, drops, gate_options, output, {"--baseline": baseline, "--badge": badge, "--junit": output.junit}
        )
    if run is None or baseline is None:
        missing = "RUN" if run is None else "--baseline RUN"
        raise SettingError(f"gate needs RUN and --baseline RUN, got no {missing}: add it, or plan a gate with --plan RUN")
    if drops is not None:
        raise SettingError("--drops is for --plan, got it for a gate: leave it out, or add --plan RUN")
    from robustbench_fgsm.cli.output import write_note, write_result
    from robustbench_fgsm.files.atomic_files import write_json
    from robustbench_fgsm.report.documents.gate import failure_text
    from robustbench_fgsm.report.github import append_job_summary, error_annotation, gate_badge, is_github_job
    from robustbench_fgsm.report.summarize import summarize
    from robustbench_fgsm.report.tables.markdown import summary_to_markdown
    from robustbench_fgsm.runs.gate import gate
    from robustbench_fgsm.runs.manifest import translate_document_errors

    check_output_path("--badge", badge)
    with translate_document_errors(run):
        document = gate(run, baseline, **asdict(gate_options)).to_dict()
    if badge is not None:
        write_json(badge, gate_badge(document))
    append_job_summary(summary_to_markdown(summarize(document)))
    if document["exit_code"] and is_github_job():
        write_note(error_annotation(failure_text(document), title="robustness fell"), quiet=False)
    return write_result(document, output)


def _write_plan(
    pilot: Path,
    second: Path | None,
    drops: str | None,
    gate_options: GateOptions,
    output: OutputOptions,
    unused: Mapping[str, object],
) -> int:
    """Write how many images a gate with these options needs."""
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.runs.manifest import translate_document_errors
    from robustbench_fgsm.runs.plan_gate import DEFAULT_DROPS, plan_gate

    settings = asdict(gate_options)
    given = [flag for flag, value in unused.items() if value is not None]
    given += ["--require-evidence"] if settings.pop("require_evidence") else []
    if given:
        raise SettingError(f"--plan and {given[0]} exclude each other, got both: leave {given[0]} out")
    with translate_document_errors(pilot):
        document = plan_gate(pilot, second, DEFAULT_DROPS if drops is None else drops, **settings).to_dict()
    return write_result(document, output)
