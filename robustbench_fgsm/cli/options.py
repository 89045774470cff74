"""Options that commands share, each declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Layout(StrEnum):
    """How tables are printed."""

    table = "table"
    markdown = "markdown"


Model = Annotated[
    str,
    typer.Option(
        "--model", help="Classifier: a name of `rfgsm list models`, SOURCE:NAME, or a file.", show_default=False
    ),
]
Weights = Annotated[
    str, typer.Option("--weights", help="auto, standard, none, a name of the source's own, or a checkpoint.")
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Data set: a name of `rfgsm list data`.",
        show_default="fashion-mnist for bundled models",
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", help="Only the first so many images.", show_default="all")]
BatchSize = Annotated[str, typer.Option("--batch-size", help="Images at a time, or auto.")]
Optimize = Annotated[
    str,
    typer.Option(
        "--optimize", metavar="LEVEL", help="none, safe (faster, same counts), max (may change a few), or bf16."
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")]
Eps = Annotated[str, typer.Option("--eps", help="Budget in pixel space, where images lie in [0, 1]: 8/255 or 0.03.")]
Norm = Annotated[str, typer.Option("--norm", help="inf, 1, 2, or any real p >= 1.")]
Targeted = Annotated[
    str, typer.Option("--targeted", metavar="RULE", help="none, next, shift:2, random, least-likely or class:NAME.")
]
Loss = Annotated[str, typer.Option("--loss", help="ce, log-probabilities, probabilities or margin.")]
Stable = Annotated[bool, typer.Option("--stable", help="Exact cross-entropy gradients where float32 saturates.")]
Restarts = Annotated[
    int, typer.Option("--restarts", help="Random starts beside the clean one; the best for each image counts.")
]
PgdCheck = Annotated[
    int,
    typer.Option(
        "--pgd-check",
        metavar="N",
        min=0,
        help="Also try ART's PGD-20 on N of the images, at the largest epsilon: by how much FGSM overstates robustness.",
    ),
]
CheckMasking = Annotated[
    bool,
    typer.Option("--check-masking", help="Also look for signs that the gradient is masked, on N images or 200."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of random targets and starts.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Keep settings and result there; the same command returns it again.",
        show_default=False,
    ),
]
KeepImages = Annotated[
    int,
    typer.Option("--keep-images", metavar="N", min=0, help="Example images kept with --out, at most; 0 for none."),
]
Format = Annotated[Layout, typer.Option("--format", help="Of the tables: for the terminal, or as Markdown.")]
Csv = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="PATH",
        help="Also write FILE.csv, one row for each class, or five tables into a directory.",
        show_default=False,
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Also write the page of rfgsm report; with --out it has example images.",
        show_default=False,
    ),
]
Style = Annotated[
    str,
    typer.Option("--style", help="How it is written: plain, torchattacks, art, foolbox, tutorial, nhwc or normalised."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes on standard error.")]
LogDir = Annotated[
    Path | None,
    typer.Option("--log-dir", metavar="DIR", help="Also log there, each process in a file.", show_default=False),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
