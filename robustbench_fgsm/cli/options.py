"""Options of the command line: groups that only the program has, and the function that expands groups into options."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

from robustbench_fgsm.errors import ResourceError, SettingError
from robustbench_fgsm.files.regular_files import check_regular_file, is_directory, is_present
from robustbench_fgsm.options import Option
from robustbench_fgsm.spec import PIXEL_BOUNDS, UNKNOWN_BOUNDS, Bounds, check_bounds

PANELS = {
    "ModelOptions": "Model",
    "DataOptions": "Data",
    "AttackOptions": "Attack",
    "TrainingRecipe": "Training",
    "DistanceOptions": "Attack",
    "CheckOptions": "Checks",
    "Thresholds": "Gates",
    "GateOptions": "Gates",
    "RunOptions": "Run",
    "BenchmarkOptions": "Run",
    "TransferOptions": "Output",
    "ShardOptions": "Output",
    "OutputOptions": "Output",
}
"""Panel of `--help` in which the options of each group stand."""


class TableFormat(StrEnum):
    """Formats in which tables are printed."""

    table = "table"
    markdown = "markdown"


@dataclass(frozen=True)
class ModelOptions:
    """The classifier: where it comes from, where it runs, and what a checkpoint does not say of itself."""

    model: Annotated[str, Option("Classifier: a name of `rfgsm list models`, SOURCE:NAME[:WEIGHTS], or a file.")]
    weights: Annotated[str, Option("auto, standard, none, a name that the source knows, or a file such as .pth or .ckpt.")] = "auto"
    device: Annotated[str, Option("auto, cpu, cuda, cuda:1, ...")] = "auto"
    num_classes: Annotated[int | None, Option("Outputs of a network with weights of your own or none.")] = None
    mean: Annotated[str | None, Option("Normalisation: one value, or one for each channel.", metavar="M,M,M")] = None
    std: Annotated[str | None, Option("Normalisation: one value, or one for each channel.", metavar="S,S,S")] = None
    bounds: Annotated[str | None, Option("Range of the network's input; 0,1 if left out.", metavar="LOW,HIGH")] = None
    dtype: Annotated[
        str | None, Option("Cast the weights: float64, float32, float16 or bfloat16.", default_text="the network's own")
    ] = None
    dataset: Annotated[str | None, Option("RobustBench: cifar10, cifar100 or imagenet.")] = None
    threat_model: Annotated[str | None, Option("RobustBench: Linf, L2 or corruptions.")] = None
    trust_model_code: Annotated[bool, Option("Load model files whose loading can run code: exported programs, joblib.")] = False
    task: Annotated[str, Option("multiclass, or multilabel: any number of labels for an image, each with a sigmoid or logit.")] = (
        "multiclass"
    )

    @property
    def expected_bounds(self) -> Bounds:
        """Return the range of the images if it is known before the model is loaded: a file may record another one than [0, 1]."""
        if self.bounds is not None:
            low, high = self.load_arguments()["bounds"]
            return low, high
        named = self.model and ":" not in self.model and not is_present(Path(self.model))
        return PIXEL_BOUNDS if named and self.weights in ("auto", "none", "standard", "robust") else UNKNOWN_BOUNDS

    def load_arguments(self) -> dict[str, Any]:
        """Return the arguments of `load_classifier` but the model. Raises SettingError for text that is not numbers."""
        numbers = {name: _parse_numbers(name, getattr(self, name)) for name in ("mean", "std", "bounds")}
        if numbers["bounds"] is not None:
            check_bounds(numbers["bounds"])
        return {name: value for name, value in (asdict(self) | numbers).items() if name != "model"}


def _parse_numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise SettingError(f"--{name} must be numbers with commas between, got {text!r}: try 0.5 or 0.4,0.5,0.6") from None


@dataclass(frozen=True)
class DataOptions:
    """The data set: where it comes from, and which of its images are used."""

    data: Annotated[
        str | None,
        Option(
            "Data set: a name of `rfgsm list data`, or a path: .npz, .csv, .mat, a directory, ...",
            default_text="fashion-mnist for bundled models",
        ),
    ] = None
    limit: Annotated[int | None, Option("Use only N images, which --sample chooses.", metavar="N", default_text="all")] = None
    split: Annotated[str | None, Option("Part of the data, such as train.", default_text="the default of the source")] = None
    data_root: Annotated[Path, Option("Directory of torchvision's data sets and of imagenet.", metavar="DIR")] = Path("data")
    download: Annotated[bool, Option("Download torchvision's data sets into --data-root.")] = False
    layout: Annotated[
        str | None, Option("Axes of arrays: NCHW, NHWC, NHW, NF, NCL, NLC, NCDHW, NDHWC.", default_text="inferred from the shape")
    ] = None
    labels_from: Annotated[int, Option("Label of the first class: 0 or 1.", min=0)] = 0
    images_key: Annotated[str | None, Option("Array or column of the images.", metavar="NAME", default_text="usual names")] = None
    labels_key: Annotated[str | None, Option("Array or column of the labels.", metavar="NAME", default_text="usual names")] = None
    shape: Annotated[str | None, Option("Shape of one sample of a table, such as 28x28.", metavar="HxW")] = None
    follow_links: Annotated[bool, Option("Follow links in a directory of images that stay inside it.")] = False
    class_map: Annotated[Path | None, Option("JSON file with the model's order of classes, or `numbers`.", metavar="FILE")] = None
    image_size: Annotated[int | None, Option("Resize and crop image files to a square of N pixels.", metavar="N")] = None
    sample: Annotated[
        str,
        Option(
            "Images of --limit: first, stratified (each class by its share), random, or auto: first unless in class order. "
            "A number N is short for --limit N --sample random.",
            metavar="RULE",
        ),
    ] = "auto"
    stratified: Annotated[bool, Option("Short for --sample stratified.")] = False
    workers: Annotated[int | None, Option("Processes that decode images.", min=0, default_text="as many as make it faster")] = None


@dataclass(frozen=True)
class GateOptions:
    """What a gate allows between a baseline and a run."""

    max_drop: Annotated[float, Option("Allowed loss of accuracy, as a share of the images.")] = 0.01
    require_evidence: Annotated[bool, Option("Pass only if every drop is shown to be smaller.")] = False
    alpha: Annotated[float, Option("Probability that the gate fails although no true drop is larger.")] = 0.05
    on: Annotated[str, Option("What decides: accuracy, distance (runs measured with --distance), or both.")] = "accuracy"
    max_decrease: Annotated[
        float | str, Option("Allowed decrease of the distance, in units of epsilon, such as 0.5/255.", metavar="EPS")
    ] = 0.0


@dataclass(frozen=True)
class OutputOptions:
    """Where a result is written, and what the terminal shows."""

    out: Annotated[
        Path | None, Option("Keep settings and result in DIR. The same command continues or returns it.", metavar="DIR")
    ] = None
    keep_images: Annotated[int, Option("Keep at most N example images in --out; 0 for none.", metavar="N", min=0)] = 500
    plot: Annotated[Path | None, Option("Also draw the figure: .png, .svg or .pdf.", metavar="FILE")] = None
    csv: Annotated[Path | None, Option("Also write FILE.csv, or one CSV file for each table in a directory.", metavar="PATH")] = (
        None
    )
    html: Annotated[
        Path | None, Option("Also write the page of rfgsm report. With --out it has example images.", metavar="FILE")
    ] = None
    format: Annotated[TableFormat, Option("Print tables for the terminal, or as Markdown.")] = TableFormat.table
    json: Annotated[bool, Option("Print one JSON document and nothing else on standard output.")] = False
    quiet: Annotated[bool, Option("Print no progress and no notes on standard error.")] = False
    log_dir: Annotated[Path | None, Option("Also write a log of each process into DIR.", metavar="DIR")] = None
    """Read by `main` before the command runs, as `debug` is."""
    debug: Annotated[bool, Option("Show the traceback of an error.")] = False

    def __post_init__(self) -> None:
        check_output_options(self)


def check_output_options(output: OutputOptions) -> None:
    """Raise SettingError, before anything is measured, if options exclude each other or a file can never be written."""
    if output.json and output.format is TableFormat.markdown:
        raise SettingError("--format markdown and --json exclude each other, got both: leave one out")
    check_output_path("--csv", output.csv, directory=output.csv is not None and not is_csv(output.csv))
    check_output_path("--html", output.html)
    check_output_path("figure", output.plot)
    if output.plot is not None:
        from robustbench_fgsm.report.figures.curves import figure_format

        figure_format(output.plot)


def check_output_path(option: str, path: Path | None, *, directory: bool = False) -> None:
    """Raise SettingError, FileError or ResourceError if no file (or directory) can be written to a path."""
    if path is None:
        return
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()  # which fails for a path that the system rejects
    except OSError as error:
        raise SettingError(f"{option} {path} cannot be written ({error.strerror}): choose another path") from error
    existing = next(place for place in (path, *path.parents) if is_present(place))
    fits = is_directory(existing) == directory if existing == path else is_directory(existing)
    if not fits:
        kind = "directory" if is_directory(existing) else "file"
        raise SettingError(f"{option} {path} cannot be written, because {existing} is a {kind}: choose another path")
    if existing == path and not directory and not path.is_symlink():  # a link is replaced
        check_regular_file(path)
    folder = existing if is_directory(existing) else existing.parent
    if not os.access(folder, os.W_OK):
        raise ResourceError(f"{option} {path} must be writable, got {folder}, which is not: choose another path")


def is_csv(path: Path) -> bool:
    """Return True if a path names one CSV file, not a directory of several."""
    return path.suffix.lower() == ".csv"


@dataclass(frozen=True)
class Variant:
    """How one command's group of options differs from the group's declaration.

    Args:
        only: fields that are options of this command, if not all.
        without: fields that are not.
        defaults: default values of this command, by field.
        options: declarations of this command, by field.
    """

    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Return True if the field is an option of this command."""
        return name not in self.without and (not self.only or name in self.only)


@dataclass(frozen=True)
class _DeclaredOption:
    """One option of a command: its field's type, declaration and default."""

    field: str
    hint: Any
    option: Option
    default: Any
    panel: str | None

    @property
    def flag(self) -> str:
        return self.option.flag or f"--{self.field.replace('_', '-')}"

    @property
    def name(self) -> str:
        """Return the name of the parameter that Typer fills in."""
        return self.flag.split("/")[0].removeprefix("--").replace("-", "_")

    def parse(self, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(value)
        return self.option.parse(value) if self.option.parse and isinstance(value, str) else value

    def to_parameter(self) -> inspect.Parameter:
        """Return the parameter of which Typer makes the option."""
        option, default = self.option, self.default
        kinds = get_args(self.hint) if get_origin(self.hint) in (Union, UnionType) else (self.hint,)
        kind: Any = str if str in kinds or option.parse else next(kind for kind in kinds if kind is not NoneType)
        if option.multiple:
            kind = list[str]
            default = default if default is MISSING else [default] if isinstance(default, str) else list(default)
        elif isinstance(default, tuple):
            default = ",".join(default)
        elif isinstance(default, float) and kind is str:
            default = str(default)
        if default is None:
            kind |= None
        declaration = typer.Option(
            *filter(None, [option.short, self.flag]),
            help=option.help,
            metavar=option.metavar,
            min=option.min,
            show_default=option.default_text or default not in (None, MISSING, "", []),
            rich_help_panel=self.panel,
        )
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is MISSING else default,
            annotation=Annotated[kind, declaration],
        )


def _declared_options(group: type[Any], variant: Variant) -> list[_DeclaredOption]:
    """Return the options that one group adds to a command."""
    hints, found = get_type_hints(group, include_extras=True), []
    for part in fields(group):
        hint, option = get_args(hints[part.name])
        if variant.has(part.name):
            default = variant.defaults.get(part.name, part.default)
            option = variant.options.get(part.name, option)
            found.append(_DeclaredOption(part.name, hint, option, default, PANELS.get(group.__name__)))
    return found


def expand_options(command: Callable[..., int]) -> Callable[..., int]:
    """Return the command with one keyword parameter for each option in place of each group of options.

    A group is a parameter whose type is a dataclass, alone or as `Annotated[Group, Variant(...)]`. A parameter of its own is
    declared as `Annotated[type, Option(...)]`.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type[Any], Variant, list[_DeclaredOption]]] = {}
    singles: dict[str, _DeclaredOption] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        annotated = get_origin(parameter.annotation) is Annotated
        kind, mark = get_args(parameter.annotation) if annotated else (parameter.annotation, None)
        if isinstance(kind, type) and is_dataclass(kind):
            variant = mark or Variant()
            options = _declared_options(kind, variant)
            groups[parameter.name] = kind, variant, options
            parameters += [option.to_parameter() for option in options]
        elif isinstance(mark, Option):
            default = MISSING if parameter.default is inspect.Parameter.empty else parameter.default
            single = singles[parameter.name] = _DeclaredOption(parameter.name, kind, mark, default, None)
            parameters.append(single.to_parameter())
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def call(**given: Any) -> int:
        arguments = {}
        for name, (kind, variant, options) in groups.items():
            values = {option.field: option.parse(given.pop(option.name)) for option in options if option.name in given}
            arguments[name] = kind(**{**variant.defaults, **values})
        for name, single in singles.items():
            if single.name in given:
                arguments[name] = single.parse(given.pop(single.name))
        return command(**given, **arguments)

    call.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def changed_flags(*groups: object) -> list[str]:
    """Return the flags of the options whose values are not the defaults of their groups."""
    return [
        option.flag
        for group in groups
        for option in _declared_options(type(group), Variant())
        if getattr(group, option.field) != (option.default if option.default is not MISSING else "")
    ]
