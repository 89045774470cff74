"""Where data may come from: the sources of this package, and those that others add by the entry point group below.

An entry point of that group names a `Source`:

    [project.entry-points."robustbench_fgsm.data"]
    mine = "my_package.data:SOURCE"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.errors import DataError, SettingError, did_you_mean

DATA_ENTRY_POINT_GROUP = "robustbench_fgsm.data"
DEFAULT_ROOT = Path("data")

SOURCE_MODULES = (
    "fashion_mnist",
    "torchvision",
    "imagenet",
    "folder",
    "npz",
    "safetensors",
    "webdataset",
    "huggingface",
    "factory",
)
"""Modules of this package that hold `SOURCES`, in the order they are listed."""


@dataclass(frozen=True)
class DataOptions:
    """What a loader may be told beside the name.

    split: part of the data, the source's default where it is None. root: directory of the downloads. layout: order of
    the axes of images in arrays. workers: processes that decode, None for as many as help. class_map: file that gives the
    model's order of classes, which is applied to what is loaded.
    """

    split: str | None = None
    root: Path = DEFAULT_ROOT
    download: bool = False
    layout: str | None = None
    workers: int | None = None
    class_map: Path | None = None

    def choose_split(self, name: str, splits: tuple[str, ...]) -> str:
        """The split, the first of these by default; raises SettingError for another one."""
        if self.split is not None and self.split not in splits:
            raise SettingError(
                f"split of {name} must be one of {', '.join(splits)}, got {self.split!r}: {did_you_mean(self.split, splits)}"
            )
        return self.split or splits[0]

    def reject_split(self, name: str) -> None:
        """Raise SettingError where a split was asked for."""
        if self.split is not None:
            raise SettingError(f"{name} has no splits, got --split {self.split}: leave it out")


@dataclass(frozen=True)
class DataSource:
    """One kind of data.

    spec: how it is named, such as `mnist` or `folder:DIR`; what stands before the colon is looked up. summary: what it
    is, in a few words. load: the data set for what stands after the colon, empty where nothing does. packages: modules
    that have to be installed. extra: of this package, that installs them. present: whether its files are in a root, or
    None where that cannot be said.
    """

    spec: str
    summary: str
    load: Callable[[str, DataOptions], Dataset]
    packages: tuple[str, ...] = ()
    extra: str = ""
    is_downloaded: Callable[[Path], bool] | None = None

    @property
    def name(self) -> str:
        """What is looked up."""
        return self.spec.partition(":")[0]

    @property
    def takes_argument(self) -> bool:
        """Whether something has to follow a colon."""
        return ":" in self.spec

    @property
    def installed(self) -> bool:
        """Whether its packages are there."""
        return all(find_spec(package) is not None for package in self.packages)

    def availability(self, root: Path) -> str:
        """`ready`, or what is missing for it."""
        if not self.installed:
            return f"pip install 'robustbench-fgsm[{self.extra}]'"
        return "ready" if self.is_downloaded is None or self.is_downloaded(root) else f"not in {root}"


def data_sources() -> dict[str, DataSource]:
    """All sources by name; what others add comes last and does not replace ours."""
    found = {
        source.name: source for module in SOURCE_MODULES for source in import_module(f"{__package__}.sources.{module}").SOURCES
    }
    for source in _third_party_sources():
        found.setdefault(source.name, source)
    return found


def _third_party_sources() -> Iterator[DataSource]:
    for point in entry_points(group=DATA_ENTRY_POINT_GROUP):
        source = point.load()
        if not isinstance(source, DataSource):
            raise DataError(f"entry point {point.name} of {DATA_ENTRY_POINT_GROUP} must be a Source, got {type(source).__name__}")
        yield source


def find_data_source(spec: str) -> tuple[DataSource, str]:
    """The source of a spec, and what the spec says after the colon.

    Raises DataError for an unknown name, a missing or surplus argument, and a package that is not installed.
    """
    name, _, argument = spec.partition(":")
    known = data_sources()
    if name not in known:
        spelt = name.lower().replace("_", "-")
        remedy = did_you_mean(spelt, [spelt] if spelt in known else known)
        raise DataError(f"data must be a name of `rfgsm list data`, got {spec!r}: {remedy}")
    source = known[name]
    if source.takes_argument != bool(argument):
        raise DataError(f"data of this kind are named {source.spec}, got {spec!r}: see `rfgsm list data`")
    if not source.installed:
        missing = ", ".join(package for package in source.packages if find_spec(package) is None)
        raise DataError(f"{source.spec} needs {missing}, which is not installed: {source.availability(DEFAULT_ROOT)}")
    return source, argument
