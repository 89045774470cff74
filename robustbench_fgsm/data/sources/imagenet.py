"""`imagenet`: the ILSVRC 2012 images, in one directory for each of the 1,000 WordNet ids."""

from __future__ import annotations

from pathlib import Path

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.registry import DataOptions, Source
from robustbench_fgsm.data.sources.folder import class_directories, open_folder
from robustbench_fgsm.errors import DataError, SettingError

COUNT = 1000


def imagenet_classes() -> tuple[str, ...]:
    """Names of the 1,000 classes in the order of their sorted WordNet ids, which is that of every published network."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return tuple(_IMAGENET_CATEGORIES)


def find_place(root: Path, split: str) -> Path:
    """The directory of the split, in the root or in `imagenet` below it."""
    return next((place for place in (root / split, root / "imagenet" / split) if place.is_dir()), root / split)


def _load(_: str, options: DataOptions) -> Dataset:
    split = options.one_of("imagenet", ("val", "train"))
    if options.download:
        raise SettingError(
            "imagenet cannot be downloaded without an account: get it from image-net.org, then --data-root"
        )
    place = find_place(options.root, split)
    if not place.is_dir():
        raise DataError(f"imagenet must lie in {place}, one directory for each WordNet id: pass --data-root DIR")
    directories = class_directories(place)
    if len(directories) != COUNT:
        raise DataError(
            f"imagenet must have {COUNT} class directories, got {len(directories)} in {place}: use folder:DIR"
        )
    return open_folder(place, directories, options).named(imagenet_classes())


SOURCES = (
    Source(
        "imagenet",
        "ILSVRC 2012, one directory for each WordNet id",
        _load,
        present=lambda root: find_place(root, "val").is_dir(),
    ),
)
