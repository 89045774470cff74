"""Options of the command line: groups that only the program has, and the function that expands groups into options."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args

from robustbench_fgsm.cli.feature_files import parse_bounds, parse_numbers
from robustbench_fgsm.data.sample_request import SAMPLE_RULES
from robustbench_fgsm.errors import ResourceError, SettingError
from robustbench_fgsm.files.regular_files import check_regular_file, is_directory, is_present
from robustbench_fgsm.options import ARRAY_LAYOUTS, DEVICE_OPTION, Option
from robustbench_fgsm.spec import PIXEL_BOUNDS, UNKNOWN_BOUNDS, Bounds, Task


def _model_names() -> Iterable[str]:
    from robustbench_fgsm.models.names import BUNDLED_NAMES, torchvision_names
    from robustbench_fgsm.models.registry import MODEL_SOURCES

    sources = (f"{name}:" for name in MODEL_SOURCES.entries() if not name.startswith("."))
    return dict.fromkeys([*BUNDLED_NAMES, *torchvision_names(), *sources])


def _data_names() -> Iterable[str]:
    from robustbench_fgsm.data.registry import data_sources

    return (name + ":" * (":" in entry.example) for name, entry in data_sources().items())


class TableFormat(StrEnum):
    """Formats in which tables are printed."""

    table = "table"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"


@dataclass(frozen=True)
class ModelOptions:
    """The classifier: where it comes from, where it runs, and what a checkpoint does not say of itself."""

    model: Annotated[
        str,
        Option(
            "Classifier: a name of `rfgsm list models`, SOURCE:NAME[:WEIGHTS], or a file.",
            short="-m",
            metavar="MODEL",
            suggestions=_model_names,
        ),
    ]
    weights: Annotated[
        str,
        Option(
            "auto, standard, none, a name that the source knows, or a file such as .pth or .ckpt.",
            suggestions=("auto", "none", "standard", "robust"),
        ),
    ] = "auto"
    device: Annotated[str, DEVICE_OPTION] = "auto"
    num_classes: Annotated[int | None, Option("Outputs of a network with weights of your own or none.")] = None
    mean: Annotated[str | None, Option("Normalisation: one value, or one for each channel.", metavar="M,M,M")] = None
    std: Annotated[str | None, Option("Normalisation: one value, or one for each channel.", metavar="S,S,S")] = None
    bounds: Annotated[
        str | None,
        Option("Range of the network's input, 0,1 if left out; or a file with low and high of each feature.", metavar="LOW,HIGH"),
    ] = None
    dtype: Annotated[
        str | None,
        Option(
            "Cast the weights: float64, float32, float16 or bfloat16.",
            default_text="the network's own",
            choices=("float64", "float32", "float16", "bfloat16"),
        ),
    ] = None
    dataset: Annotated[str | None, Option("RobustBench: cifar10, cifar100 or imagenet.")] = None
    threat_model: Annotated[str | None, Option("RobustBench: Linf, L2 or corruptions.")] = None
    trust_model_code: Annotated[bool, Option("Load model files whose loading can run code: exported programs, joblib.")] = False
    task: Annotated[
        str,
        Option(
            "multiclass, or multilabel: any number of labels for an image, each with a sigmoid or logit.", choices=get_args(Task)
        ),
    ] = "multiclass"

    @property
    def expected_bounds(self) -> Bounds:
        """Return the range of the images if it is known before the model is loaded: a file may record another one than [0, 1]."""
        if self.bounds is not None:
            found: Bounds = self.load_arguments()["bounds"]
            return found
        named = self.model and ":" not in self.model and not is_present(Path(self.model))
        return PIXEL_BOUNDS if named and self.weights in ("auto", "none", "standard", "robust") else UNKNOWN_BOUNDS

    def load_arguments(self) -> dict[str, Any]:
        """Return the arguments of `load_classifier` but the model. Raises SettingError for text that is not numbers."""
        numbers: dict[str, Any] = {
            name: parse_numbers(f"--{name}", text, "try 0.5 or 0.4,0.5,0.6")
            for name, text in (("mean", self.mean), ("std", self.std))
            if text is not None
        }
        numbers["bounds"] = None if self.bounds is None else parse_bounds(self.bounds)
        return {name: value for name, value in (asdict(self) | numbers).items() if name != "model"}


@dataclass(frozen=True)
class DataOptions:
    """The data set: where it comes from, and which of its images are used."""

    data: Annotated[
        str | None,
        Option(
            "Data set: a name of `rfgsm list data`, or a path: .npz, .csv, .mat, a directory, ...",
            short="-d",
            metavar="DATA",
            default_text="fashion-mnist for bundled models",
            suggestions=_data_names,
        ),
    ] = None
    limit: Annotated[
        int | None, Option("Use only N images, which --sample chooses.", short="-n", metavar="N", default_text="all")
    ] = None
    split: Annotated[str | None, Option("Part of the data, such as train.", default_text="the default of the source")] = None
    data_root: Annotated[Path, Option("Directory of torchvision's data sets and of imagenet.", metavar="DIR")] = Path("data")
    download: Annotated[bool, Option("Download torchvision's data sets into --data-root.")] = False
    layout: Annotated[
        str | None,
        Option(
            "Axes of arrays: NCHW, NHWC, NHW, NF, NCL, NLC, NCDHW, NDHWC.",
            default_text="inferred from the shape",
            parse=str.upper,
            choices=ARRAY_LAYOUTS,
        ),
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
            suggestions=SAMPLE_RULES,
        ),
    ] = "auto"
    stratified: Annotated[bool, Option("Short for --sample stratified.")] = False
    workers: Annotated[
        int | None, Option("Processes that decode images.", min=0, default_text="as many as make it faster", panel="Performance")
    ] = None


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


RESULT_OPTIONS = ("csv", "html", "format", "json", "debug")
"""Options of every command that prints a result."""

VERDICT_OPTIONS = (*RESULT_OPTIONS, "junit")
"""Options of every command with a verdict, which the exit code says too."""

RUN_OPTIONS = (*RESULT_OPTIONS, "out", "name", "quiet")
"""Options of every command that keeps its result in a run directory."""


@dataclass(frozen=True)
class OutputOptions:
    """Where a result is written, and what the terminal shows."""

    out: Annotated[
        Path | None, Option("Keep settings and result in DIR. The same command continues or returns it.", short="-o", metavar="DIR")
    ] = None
    name: Annotated[
        str | None,
        Option("Name of the run in lists, tables, figures and pages.", metavar="TEXT", default_text="name of the directory"),
    ] = None
    keep_images: Annotated[int, Option("Keep at most N example images in --out; 0 for none.", metavar="N", min=0)] = 500
    plot: Annotated[Path | None, Option("Also draw the figure: .png, .svg or .pdf.", metavar="FILE")] = None
    csv: Annotated[Path | None, Option("Also write FILE.csv, or one CSV file for each table in a directory.", metavar="PATH")] = (
        None
    )
    html: Annotated[
        Path | None, Option("Also write the result as an HTML page. With --out it has example images.", metavar="FILE")
    ] = None
    junit: Annotated[
        Path | None, Option("Also write the verdict as JUnit XML: a test fails if the exit code is 1.", metavar="FILE")
    ] = None
    format: Annotated[TableFormat, Option("Print tables for the terminal, as Markdown or LaTeX, or the first as CSV.")] = (
        TableFormat.table
    )
    json: Annotated[bool, Option("Print one JSON document and nothing else on standard output.", short="-j")] = False
    quiet: Annotated[bool, Option("Print no progress and no notes on standard error.", short="-q")] = False
    log_dir: Annotated[Path | None, Option("Also write a log of each process into DIR.", metavar="DIR")] = None
    """Read by `main` before the command runs, as `debug` is."""
    debug: Annotated[bool, Option("Show the traceback of an error.")] = False

    def __post_init__(self) -> None:
        check_output_options(self)


def check_output_options(output: OutputOptions) -> None:
    """Raise SettingError, before anything is measured, if options exclude each other or a file can never be written."""
    if output.json and output.format is not TableFormat.table:
        raise SettingError(f"--format {output.format.value} and --json exclude each other, got both: leave one out")
    check_output_path("--csv", output.csv, directory=output.csv is not None and not is_csv(output.csv))
    check_output_path("--html", output.html)
    check_output_path("--junit", output.junit)
    if output.name is not None and not (output.name.strip() and (output.out or output.html)):
        raise SettingError(f"--name must be text, for a run that --out DIR keeps, got {output.name!r}: add --out DIR")
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
