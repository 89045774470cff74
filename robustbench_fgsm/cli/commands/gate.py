"""`rfgsm gate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_fgsm.cli import options


def gate_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory made with --out by evaluate or sweep.", show_default=False)],
    baseline: Annotated[
        Path,
        typer.Option("--baseline", metavar="RUN", help="What it must not fall behind: another such one.", show_default=False),
    ],
    max_drop: Annotated[
        float, typer.Option("--max-drop", help="Loss of accuracy that is allowed, as a share of the images.")
    ] = 0.01,
    require_evidence: Annotated[
        bool, typer.Option("--require-evidence", help="Pass only where every drop is shown to be smaller.")
    ] = False,
    alpha: Annotated[float, typer.Option("--alpha", help="How often a gate may fail although no true drop is larger.")] = 0.05,
    format: options.Format = options.TableFormat.table,  # noqa: A002
    json: options.Json = False,
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
) -> int:
    """Fail a build where robust or clean accuracy fell, over all images or in a class, from a baseline to a run.

    Both runs must be on the same images with the same attack: outcomes are paired image by image. Exit 0: passed.
    Exit 1: failed. Exit 2: the runs cannot be compared.

    Example: rfgsm gate results/new --baseline results/main --max-drop 0.01
    """
    from robustbench_fgsm.cli.output import ResultFormat, check_output, write_result
    from robustbench_fgsm.runs.gate import gate

    output = ResultFormat(json, format)
    check_output(output)
    found = gate(run, baseline, max_drop, require_evidence=require_evidence, alpha=alpha)
    write_result(found.to_dict(), output)
    return found.exit_code
