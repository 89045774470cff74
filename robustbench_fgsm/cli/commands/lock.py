"""The command `rfgsm lock`: one small file in git against which later runs are judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import RESULT_OPTIONS, OutputOptions
from robustbench_fgsm.options import Option


@expand_options
def lock_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory made with --out by evaluate or sweep.", show_default=False)],
    output: Annotated[
        Path, Option("File to write; an earlier lock is replaced.", short="-o", metavar="FILE", panel="Output")
    ] = Path("robustness.lock"),
    output_options: Annotated[OutputOptions, Variant(only=RESULT_OPTIONS)] = OutputOptions(),
) -> int:
    """Write robustness.lock: what became of each image of a run, in one small text file for git.

    Exit 0: written. Exit 1: the numbers of the run must not be used.

    Example: rfgsm lock results/main

    Example: rfgsm gate results/new --baseline robustness.lock
    """
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.runs.lock import lock
    from robustbench_fgsm.runs.manifest import translate_document_errors

    with translate_document_errors(run):
        document = lock(run, output).to_dict()
    return write_result(document, output_options)
