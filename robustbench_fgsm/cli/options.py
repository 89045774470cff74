"""Options that commands share, each declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from robustbench_fgsm.errors import SettingError


class TableFormat(StrEnum):
    """How tables are printed."""

    table = "table"
    markdown = "markdown"


Model = Annotated[
    str,
    typer.Option("--model", help="Classifier: a name of `rfgsm list models`, SOURCE:NAME, or a file.", show_default=False),
]
Weights = Annotated[str, typer.Option("--weights", help="auto, standard, none, a name of the source's own, or a checkpoint.")]
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
    typer.Option("--optimize", metavar="LEVEL", help="none, safe (faster, same counts), max (may change a few), or bf16."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")]
Eps = Annotated[str, typer.Option("--eps", help="Budget in pixel space, where images lie in [0, 1]: 8/255 or 0.03.")]
Norm = Annotated[str, typer.Option("--norm", help="inf, 1, 2, or any real p >= 1.")]
Targeted = Annotated[
    str, typer.Option("--targeted", metavar="RULE", help="none, next, shift:2, random, least-likely or class:NAME.")
]
Loss = Annotated[str, typer.Option("--loss", help="ce, log-probabilities, probabilities or margin.")]
Stable = Annotated[bool, typer.Option("--stable", help="Exact cross-entropy gradients where float32 saturates.")]
Restarts = Annotated[int, typer.Option("--restarts", help="Random starts beside the clean one; the best for each image counts.")]
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
Format = Annotated[TableFormat, typer.Option("--format", help="Of the tables: for the terminal, or as Markdown.")]
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


DataRoot = Annotated[Path, typer.Option("--data-root", metavar="DIR", help="Where torchvision's data sets and imagenet lie.")]


def _model_option(name: str, meaning: str, metavar: str | None = None) -> Any:
    return typer.Option(name, help=meaning, metavar=metavar, show_default=False, rich_help_panel="Models")


@dataclass(frozen=True)
class DataOptionGroup:
    """How the data are read, and what is held against them."""

    split: Annotated[
        str | None, typer.Option("--split", help="Part of the data, such as train.", show_default="the source's own")
    ] = None
    data_root: DataRoot = Path("data")
    download: Annotated[bool, typer.Option("--download", help="Fetch torchvision's data sets into --data-root.")] = False
    layout: Annotated[
        str | None,
        typer.Option("--layout", help="Axes of arrays: NCHW, NHWC or NHW.", show_default="told by the shape"),
    ] = None
    class_map: Annotated[
        Path | None,
        typer.Option(
            "--class-map",
            metavar="FILE",
            help="JSON with the model's order of classes, or `numbers`.",
            show_default=False,
        ),
    ] = None
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", help="Resize and crop image files to a square of N pixels.", show_default=False),
    ] = None
    sample: Annotated[int | None, typer.Option("--sample", help="Only N images, drawn with --seed.", show_default=False)] = None
    stratified: Annotated[bool, typer.Option("--stratified", help="Draw as many of each class as its share comes to.")] = False
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, help="Processes that decode images.", show_default="as many as help"),
    ] = None
    max_bad: Annotated[int, typer.Option("--max-bad", min=0, help="Exit 1 with more unreadable images than that.")] = 0
    strict: Annotated[bool, typer.Option("--strict", help="Exit 2 for what the checks before the attack warn of.")] = False


@dataclass(frozen=True)
class ModelOptionGroup:
    """What describes a model that says too little of itself; numbers as they were typed."""

    num_classes: Annotated[int | None, _model_option("--num-classes", "Outputs of a network whose weights are yours, or none.")] = (
        None
    )
    mean: Annotated[str | None, _model_option("--mean", "Normalisation: one value, or one a channel.", "M,M,M")] = None
    std: Annotated[str | None, _model_option("--std", "Normalisation: one value, or one a channel.", "S,S,S")] = None
    bounds: Annotated[
        str | None, _model_option("--bounds", "Range of the images that the network takes; 0,1 otherwise.", "LOW,HIGH")
    ] = None
    dataset: Annotated[str | None, _model_option("--dataset", "RobustBench: cifar10, cifar100 or imagenet.")] = None
    threat_model: Annotated[str | None, _model_option("--threat-model", "RobustBench: Linf, L2 or corruptions.")] = None
    trust_model_code: Annotated[
        bool,
        _model_option("--trust-model-code", "Load model files whose loading can run code: exported programs, joblib."),
    ] = False

    def load_arguments(self) -> dict[str, Any]:
        """As `load_classifier` takes them, with numbers read; raises SettingError for what are no numbers."""
        numbers = {name: _parse_numbers(name, getattr(self, name)) for name in ("mean", "std", "bounds")}
        if numbers["bounds"] is not None and len(numbers["bounds"]) != 2:
            raise SettingError(f"--bounds must be low and high, got {self.bounds!r}: try 0,1")
        return asdict(self) | numbers


def _parse_numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise SettingError(f"--{name} must be numbers with commas between, got {text!r}: try 0.5 or 0.4,0.5,0.6") from None


def expand_options(command: Callable[..., int]) -> Callable[..., int]:
    """The command with the fields of each parameter that is a dataclass in that parameter's place."""
    parameters: list[inspect.Parameter] = []
    bundles: dict[str, type[Any]] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        kind = parameter.annotation
        if not (isinstance(kind, type) and is_dataclass(kind)):
            parameters.append(parameter)
            continue
        bundles[parameter.name] = kind
        hints = get_type_hints(kind, include_extras=True)
        parameters += [
            inspect.Parameter(field.name, parameter.kind, default=field.default, annotation=hints[field.name])
            for field in fields(kind)
        ]

    @wraps(command)
    def call(**given: Any) -> int:
        made = {
            name: kind(**{field.name: given.pop(field.name, field.default) for field in fields(kind)})
            for name, kind in bundles.items()
        }
        return command(**given, **made)

    call.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call
