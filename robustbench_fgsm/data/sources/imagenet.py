"""`imagenet`: the ILSVRC 2012 images, in one directory for each of the 1,000 WordNet ids."""

from __future__ import annotations

from pathlib import Path

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.folder import class_directories, load_class_directories
from robustbench_fgsm.errors import DataError, SettingError

IMAGENET_NUM_CLASSES = 1000


def imagenet_classes() -> tuple[str, ...]:
    """Return the names of the 1,000 classes in the order of their sorted WordNet ids, as in every published network."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return tuple(_IMAGENET_CATEGORIES)


def find_split_directory(root: Path, split: str) -> Path:
    """Return the directory of the split, in the root or in `imagenet` below it."""
    return next((directory for directory in (root / split, root / "imagenet" / split) if directory.is_dir()), root / split)


def load(name: str, options: DataOptions) -> Dataset:
    """Return the images of a split in the root; raise DataError unless it holds 1,000 class directories."""
    split = options.choose_split(name, ("val", "train"))
    if options.download:
        raise SettingError("imagenet cannot be downloaded without an account: get it from image-net.org, then --data-root")
    directory = find_split_directory(options.root, split)
    if not directory.is_dir():
        raise DataError(f"imagenet must lie in {directory}, one directory for each WordNet id: pass --data-root DIR")
    directories = class_directories(directory)
    if len(directories) != IMAGENET_NUM_CLASSES:
        raise DataError(
            f"imagenet must have {IMAGENET_NUM_CLASSES} class directories, got {len(directories)} in {directory}: use folder:DIR"
        )
    return load_class_directories(directory, directories, options).with_class_names(imagenet_classes())
