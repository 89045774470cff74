"""`imagenet`: the ILSVRC 2012 images, in one directory for each of the 1,000 WordNet ids."""

from __future__ import annotations

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.folder import class_directories, load_class_directories
from robustbench_fgsm.errors import DataError, SettingError
from robustbench_fgsm.files.regular_files import is_directory

IMAGENET_NUM_CLASSES = 1000


def load(name: str, options: DataOptions) -> Dataset:
    """Return the images of a split in the root, or in `imagenet` below it; classes have the names of every published network.

    Raises DataError unless there are 1,000 class directories.
    """
    from torchvision.models._meta import _IMAGENET_CATEGORIES  # in the order of the sorted WordNet ids

    split = options.choose_split(name, ("val", "train"))
    if options.download:
        raise SettingError("imagenet cannot be downloaded without an account: get it from image-net.org, then --data-root")
    directory = options.root / split
    if not is_directory(directory) and is_directory(options.root / "imagenet" / split):
        directory = options.root / "imagenet" / split
    if not is_directory(directory):
        raise DataError(f"imagenet must lie in {directory}, one directory for each WordNet id: pass --data-root DIR")
    directories = class_directories(directory, follow_links=options.follow_links)
    if len(directories) != IMAGENET_NUM_CLASSES:
        raise DataError(
            f"imagenet must have {IMAGENET_NUM_CLASSES} class directories, got {len(directories)} in {directory}: use folder:DIR"
        )
    return load_class_directories(directory, directories, options).with_class_names(tuple(_IMAGENET_CATEGORIES))
