"""The command `rfgsm gate`: a run against its baseline."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from robustbench_fgsm.cli.options import GateOptions, OutputOptions, Variant, expand_options
from robustbench_fgsm.options import Option


@expand_options
def gate_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory made with --out by evaluate or sweep.", show_default=False)],
    baseline: Annotated[Path, Option("Run of the baseline: another directory of this kind.", metavar="RUN")],
    gate_options: GateOptions,
    output: Annotated[OutputOptions, Variant(only=("csv", "format", "json", "debug"))],
) -> int:
    """Fail a build if robust or clean accuracy fell from a baseline to a run, over all images or in a class.

    Both runs must be on the same images with the same attack: outcomes are paired image by image. Exit 0: passed.
    Exit 1: failed. Exit 2: the runs cannot be compared.

    Example: rfgsm gate results/new --baseline results/main --max-drop 0.01
    """
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.runs.gate import gate
    from robustbench_fgsm.runs.manifest import translate_document_errors

    with translate_document_errors(run):
        document = gate(run, baseline, **asdict(gate_options)).to_dict()
    return write_result(document, output)
