"""The command `rfgsm plot`: one figure of a run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import OutputOptions, check_output_path
from robustbench_fgsm.options import Option


class FigureKind(StrEnum):
    """Kinds of figures that a run has."""

    confusion = "confusion"
    curve = "curve"
    per_class = "per-class"
    gallery = "gallery"
    transfer = "transfer"
    training = "training"


@expand_options
def plot_command(
    *,
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Directory made with --out, or its result.json; several for one curve each.")
    ],
    output: Annotated[Path, Option("The figure: .png, .svg or .pdf.", short="-o", metavar="FILE", panel="Output")],
    kind: Annotated[
        FigureKind, Option("What the figure shows. A transfer has its heat map only, a training its curves only.", panel="Output")
    ] = FigureKind.confusion,
    eps: Annotated[
        str | None, Option("Budget of the run.", short="-e", default_text="8/255 if there, else the largest", panel="Attack")
    ] = None,
    targeted: Annotated[str | None, Option("Attack of a sweep.", metavar="RULE", default_text="the first", panel="Attack")] = None,
    output_options: Annotated[OutputOptions, Variant(only=("quiet", "debug"))],
) -> int:
    """Draw one figure of a run of evaluate, sweep, compare, transfer or train, for a paper or a slide.

    Several runs of evaluate, sweep or compare give one figure of accuracy over epsilon, with a curve for each.

    Example: rfgsm plot results/evaluation --kind per-class -o classes.pdf

    Example: rfgsm plot results/standard results/robust --kind curve -o curves.pdf
    """
    from robustbench_fgsm.cli.output import write_note
    from robustbench_fgsm.errors import SettingError
    from robustbench_fgsm.files.atomic_files import write_bytes
    from robustbench_fgsm.report.figures.curves import draw_accuracy_over_epsilon, encode_figure, figure_format
    from robustbench_fgsm.report.figures.gallery import draw_run
    from robustbench_fgsm.report.loaded_run import EVALUATION_SCHEMAS, REPORTED_SCHEMAS, documents_by_name, load_run
    from robustbench_fgsm.runs.manifest import translate_document_errors
    from robustbench_fgsm.spec import parse_epsilon

    check_output_path("--output", output)
    form = figure_format(output)
    budgets = () if eps is None else parse_epsilon(eps, bounds=None)  # the run bounds its budgets
    if len(budgets) > 1:
        raise SettingError(f"--eps must be one budget of the run, got {eps}: draw a figure for each")
    if len(runs) > 1 and (kind is not FigureKind.curve or targeted is not None or eps is not None):
        raise SettingError("several runs have one figure of curves, without --targeted and --eps: pass --kind curve, or one run")
    with translate_document_errors(runs[0]):
        loaded = [load_run(run, EVALUATION_SCHEMAS if len(runs) > 1 else REPORTED_SCHEMAS) for run in runs]
        figure = (
            draw_accuracy_over_epsilon(documents_by_name(loaded))
            if len(runs) > 1
            else draw_run(loaded[0], kind.value, targeted, *budgets)
        )
    write_bytes(output, encode_figure(figure, form))
    write_note(f"{output}: {output.stat().st_size / 2**10:.0f} KiB", quiet=output_options.quiet)
    return 0
