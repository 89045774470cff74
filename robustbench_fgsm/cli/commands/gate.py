"""The command `rfgsm gate`: a run against its baseline."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import GateOptions, OutputOptions, check_output_path
from robustbench_fgsm.options import Option


@expand_options
def gate_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory made with --out by evaluate or sweep.", show_default=False)],
    baseline: Annotated[
        Path, Option("Run of the baseline: such a directory, or a file made by rfgsm lock.", metavar="RUN", panel="Gates")
    ],
    gate_options: GateOptions,
    output: Annotated[OutputOptions, Variant(only=("csv", "format", "json", "debug"))],
    badge: Annotated[Path | None, Option("Also write a badge for shields.io as JSON.", metavar="FILE", panel="Output")] = None,
) -> int:
    """Fail a build if robust or clean accuracy fell from a baseline to a run, over all images or in a class.

    Both runs must be on the same images with the same attack: outcomes are paired image by image. Exit 0: passed.
    Exit 1: failed. Exit 2: the runs cannot be compared.

    In a job of GitHub Actions the tables are added to its summary, and a failure is an annotation.

    Example: rfgsm gate results/new --baseline robustness.lock --max-drop 0.01
    """
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
