"""Registry of data sources, built in or added by other packages.

An entry point of the group `robustbench_fgsm.data` names a `DataSource`:

    [project.entry-points."robustbench_fgsm.data"]
    mine = "my_package.data:SOURCE"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from robustbench_fgsm.data.sources.object_storage import check_url
from robustbench_fgsm.errors import DataError, SettingError, did_you_mean
from robustbench_fgsm.files.regular_files import expand_home, is_directory, is_file, is_present, require_file
from robustbench_fgsm.registry import Registry, RegistryEntry, refuse_address
from robustbench_fgsm.spec import Task
from robustbench_fgsm.user_code import check_code_place

if TYPE_CHECKING:  # a list of sources needs no PyTorch
    from robustbench_fgsm.data.dataset import Dataset

DEFAULT_ROOT = Path("data")
ARRAY_OPTIONS = ("layout", "images_key", "labels_key", "shape")
"""Fields of `DataOptions` about arrays and tables, which other sources do not read."""
SPLIT_PREFERENCE = ("test", "validation", "val", "train")
"""Splits to evaluate on if none is named: the first that the data have."""

NUMBERED_CLASS_MAP = "numbers"
"""In place of a class map: the data's class names are the model's own indices."""


@dataclass(frozen=True)
class DataOptions:
    """Settings of a loader beside the spec, as in `load_data`; the loader need not apply the class map."""

    split: str | None = None
    root: Path = DEFAULT_ROOT
    download: bool = False
    layout: str | None = None
    workers: int | None = None
    class_map: Path | None = None
    images_key: str | None = None
    labels_key: str | None = None
    shape: tuple[int, ...] | None = None
    follow_links: bool = False
    task: Task = "multiclass"

    def choose_split(self, name: str, splits: tuple[str, ...]) -> str:
        """Return the split, by default the first of `splits`; raise SettingError for another one."""
        if self.split is not None and self.split not in splits:
            raise SettingError(
                f"split of {name} must be one of {', '.join(splits)}, got {self.split!r}: {did_you_mean(self.split, splits)}"
            )
        return self.split or splits[0]

    def reject_split(self, name: str) -> None:
        """Raise SettingError if a split is set."""
        if self.split is not None:
            raise SettingError(f"{name} has no splits, got --split {self.split}: leave it out")

    def reject_unread(self, entry: RegistryEntry) -> None:
        """Raise SettingError if an option is set that the source does not read."""
        for option in ARRAY_OPTIONS:
            if option not in entry.array_options and getattr(self, option) is not None:
                flag = "--" + option.replace("_", "-")
                raise SettingError(f"{entry.name} must be read without {flag}, which it would ignore, got {flag}: leave it out")


@dataclass(frozen=True)
class DataSource:
    """Data source of another package.

    Args:
        spec: how a user writes it, such as `mine` or `mine:DIR`; it is found by the word before the colon.
        summary: what it is, in a few words.
        load: function from the part of the spec behind the colon (the name, if there is no colon) to the data set.
        is_downloaded: function that returns True if the data lie in the given root; None if that cannot be known.
    """

    spec: str
    summary: str
    load: Callable[[str, DataOptions], Dataset]
    is_downloaded: Callable[[Path], bool] | None = None


def _entry(
    name: str,
    module: str,
    summary: str,
    *paths: str,
    example: str = "",
    package: str = "",
    extra: str = "",
    splits: tuple[str, ...] = (),
    reads: tuple[str, ...] = (),
) -> RegistryEntry:
    module = f"robustbench_fgsm.data.sources.{module}"
    return RegistryEntry(
        name, module, example or name, package, extra, summary=summary, paths=paths, splits=splits, array_options=reads
    )


DATA_SOURCES = Registry(
    "data",
    "load(argument, options)",
    DataError,
    _entry(
        "fashion-mnist", "fashion_mnist", "clothes, grey 28 x 28; the test split ships with the package", splits=("test", "train")
    ),
    _entry("mnist", "torchvision", "digits, grey 28 x 28", "MNIST"),
    _entry("kmnist", "torchvision", "Japanese letters, grey 28 x 28", "KMNIST"),
    _entry("cifar10", "torchvision", "objects, 32 x 32", "cifar-10-batches-py"),
    _entry("cifar100", "torchvision", "objects, 32 x 32", "cifar-100-python"),
    _entry("svhn", "torchvision", "house numbers, 32 x 32", "test_32x32.mat"),
    _entry("stl10", "torchvision", "objects, 96 x 96", "stl10_binary"),
    _entry("gtsrb", "torchvision", "traffic signs", "gtsrb"),
    _entry("food101", "torchvision", "dishes", "food-101"),
    _entry("flowers102", "torchvision", "flowers", "flowers-102"),
    _entry("dtd", "torchvision", "textures", "dtd"),
    _entry("oxford-iiit-pet", "torchvision", "cats and dogs", "oxford-iiit-pet"),
    _entry("eurosat", "torchvision", "satellite images, 64 x 64", "eurosat"),
    _entry("imagenette", "torchvision", "ten of ImageNet's", "imagenette2"),
    _entry("imagenet", "imagenet", "ILSVRC 2012, one directory for each WordNet id", "val", "imagenet/val"),
    _entry("folder", "folder", "a directory of images for each class", example="folder:DIR"),
    _entry("npz", "npz", "NumPy arrays images and labels, x and y, or x_test and y_test", example="npz:FILE", reads=ARRAY_OPTIONS),
    _entry("npy", "npy", "two NumPy files, images and labels", example="npy:IMAGES,LABELS", reads=("layout", "shape")),
    _entry("mat", "mat", "MATLAB arrays X and y, as SVHN's files have them", example="mat:FILE", reads=ARRAY_OPTIONS),
    _entry(
        "csv",
        "csv_table",
        "one sample a line: its label and its pixels or features, as Kaggle's MNIST",
        example="csv:FILE",
        reads=("layout", "labels_key", "shape"),
    ),
    _entry("safetensors", "safetensors", "tensors images and labels", example="safetensors:FILE", reads=ARRAY_OPTIONS),
    _entry("wds", "webdataset", "WebDataset shards, tar archives with .cls beside .jpg or .png", example="wds:PATTERN"),
    _entry(
        "hf-data",
        "huggingface",
        "a data set of the Hugging Face hub, or a directory",
        example="hf-data:NAME",
        package="datasets",
        extra="hf-data",
        reads=("images_key", "labels_key"),
    ),
    _entry(
        "factory", "factory", "your own function, of pkg.mod or of file.py", example="factory:MODULE:FUNCTION", reads=ARRAY_OPTIONS
    ),
)


def data_sources() -> dict[str, RegistryEntry]:
    """Return all sources by name; sources of other packages come last, are imported and replace no built-in one."""
    found = dict(DATA_SOURCES.built_in)
    for entry in DATA_SOURCES.third_party():
        source = _third_party_source(entry)
        name = source.spec.partition(":")[0]
        found.setdefault(name, replace(entry, name=name, example=source.spec, summary=source.summary, array_options=ARRAY_OPTIONS))
    return found


def _third_party_source(entry: RegistryEntry) -> DataSource:
    source = DATA_SOURCES.load(entry)
    if not isinstance(source, DataSource):
        raise DataError(
            f"entry point {entry.name} of {DATA_SOURCES.group} must be a DataSource, got {type(source).__name__}: "
            "fix or uninstall that package"
        )
    return source


def availability(entry: RegistryEntry, root: Path) -> str:
    """Return `ready`, or what is missing before the data can be loaded from the root."""
    if entry.package and entry.installed_version is None:
        return entry.install_command
    downloaded = not entry.paths or any(is_present(root / path) for path in entry.paths)
    if entry.entry_point is not None:
        check = _third_party_source(entry).is_downloaded
        downloaded = check is None or check(root)
    return "ready" if downloaded else f"not in {root}"


SOURCE_BY_SUFFIX = {".npz": "npz", ".csv": "csv", ".mat": "mat", ".safetensors": "safetensors", ".tar": "wds"}

REMEDY_BY_SUFFIX = {
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zip"), "unpack it"),
    ".parquet": "put it into a directory of its own, and pass hf-data:DIRECTORY",
}
"""What to do with a file that no source reads as it is, by the end of its name."""


def _is_data_source(name: str) -> bool:
    return name in DATA_SOURCES.built_in or name in data_sources()  # which imports other packages


def add_source_of_path(spec: str) -> str:
    """Return the spec of a bare path, such as `npz:digits.npz` of `digits.npz`; any other spec as it is.

    A directory is `folder:`, or `hf-data:` if `datasets` saved it. Raises DataError for a path that no source reads.
    """
    if _is_data_source(spec.partition(":")[0]):
        return spec
    path = expand_home(spec)
    if path.suffix.lower() in SOURCE_BY_SUFFIX:
        return f"{SOURCE_BY_SUFFIX[path.suffix.lower()]}:{spec}"
    if is_directory(path):
        saved = any(is_file(path / file) for file in ("state.json", "dataset_dict.json"))
        return f"{'hf-data' if saved else 'folder'}:{spec}"
    if path.suffix.lower() == ".npy":
        return f"npy:{spec}"
    if ".py" in spec and spec.partition(":")[0].endswith(".py"):
        raise DataError(f"data of a function of your own are named factory:FILE.py:FUNCTION, got {spec!r}: pass factory:{spec}")
    if is_file(path):
        remedy = REMEDY_BY_SUFFIX.get(path.suffix.lower(), f"convert it, or name its source, as in csv:{spec}")
        raise DataError(f"data files must be {', '.join(SOURCE_BY_SUFFIX)} or .npy, got {spec!r}: {remedy}")
    return spec


def check_data_path(spec: str, root: Path, split: str | None, *, download: bool) -> None:
    """Raise an error, as `find_data_source` does, for a directory or file that does not exist, and for an unknown split."""
    entry, argument = find_data_source(spec)
    if entry.example.endswith((":DIR", ":FILE")) and not is_present(Path(argument)):
        raise DataError(f"{entry.name} {argument} cannot be read (No such file or directory): check the path")
    if entry.name == "wds" and "://" in argument:
        check_url(argument)
    if entry.name == "npy":
        for file in argument.split(","):
            require_file(Path(file), "npy must name files of images and labels", DataError)
    if entry.name == "factory":
        check_code_place(argument, "factory", DataError)
    if entry.splits:
        DataOptions(split).choose_split(entry.name, entry.splits)
    if entry.paths and not download and not is_directory(root):
        raise DataError(f"{entry.name} must be in {root}, which does not exist: pass --data-root DIR, or --download")


def find_data_source(spec: str) -> tuple[RegistryEntry, str]:
    """Return the source of a spec, and the part behind the colon, or the name if the source takes no argument.

    Raises DataError if the name is unknown, an argument is missing or superfluous, or a package is not installed.
    """
    name, _, argument = add_source_of_path(spec).partition(":")
    if name != "wds":  # which reads object storage
        refuse_address(spec, "data", "hf-data", DataError)
    entry = DATA_SOURCES.find(name, DATA_SOURCES.built_in if name in DATA_SOURCES.built_in else data_sources())
    argument = ",".join(str(expand_home(part)) if part.startswith("~") else part for part in argument.split(","))
    if (":" in entry.example) != bool(argument):
        raise DataError(f"data of this kind are named {entry.example}, got {spec!r}: see `rfgsm list data`")
    return entry, argument or name
