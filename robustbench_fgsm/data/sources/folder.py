"""`folder:DIR`: a directory with one directory of images for each class, as torchvision's ImageFolder takes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from robustbench_fgsm.data.class_names import numbered_class_names
from robustbench_fgsm.data.dataset import printable_name
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.image_files import FileImageSource
from robustbench_fgsm.errors import DataError

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".ppm", ".pgm", ".pbm", ".tif", ".tiff", ".webp"))
UNSUPPORTED_IMAGE_SUFFIXES = frozenset((".gif", ".heic", ".heif", ".avif", ".jp2", ".ico", ".tga", ".psd", ".svg", ".eps", ".dds"))
"""Images that are not decoded, and therefore count as bad; files that are no images count as nothing."""


def load(argument: str, options: DataOptions) -> ImageDataset:
    """Return the images below each class directory, with classes sorted by name, as torchvision sorts them.

    A split is a directory between. A class without images stays a class. Raises DataError if there are no classes or no images, or
    classes are named by numbers that differ from their labels.
    """
    directory = Path(argument) / (options.split or "")
    classes = class_directories(directory)
    if options.class_map is None and all(map(str.isdecimal, classes)):
        wrong = next((label for label, name in enumerate(classes) if int(name) != label), None)
        if wrong is not None:
            raise DataError(
                f"class directories of {directory} must be numbers from 0 without gaps, or names, got {classes[wrong]} in place "
                f"{wrong}, sorted as text: pass --class-map numbers where they are the model's own indices, or a FILE"
            )
        return load_class_directories(directory, classes, options).with_class_names(numbered_class_names(len(classes)))
    return load_class_directories(directory, classes, options)


def load_class_directories(directory: Path, classes: list[str], options: DataOptions) -> ImageDataset:
    """Return the images of these class directories, in that order."""
    found = [(path, label) for label, name in enumerate(classes) for path in image_paths(directory / name, name)]
    if not found:
        raise DataError(f"folder must hold images ({', '.join(sorted(IMAGE_SUFFIXES))}), got none in {directory}: check the path")
    paths, labels = zip(*found, strict=True)
    return ImageDataset(
        f"folder:{directory}",
        FileImageSource(directory, paths, labels),
        tuple(map(printable_name, classes)),
        workers=options.workers,
    )


def class_directories(directory: Path) -> list[str]:
    """Return the names of the directories in a directory, sorted, without hidden ones; raise DataError if there are none."""
    try:
        entries = [entry for entry in os.scandir(directory) if not entry.name.startswith(".")]
        if broken := [entry.name for entry in entries if entry.is_symlink() and not Path(entry.path).exists()]:
            raise DataError(f"folder {directory} must hold whole links, got {broken[0]}, which leads nowhere: mend or remove it")
        names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError as error:
        raise DataError(f"folder {directory} cannot be read ({error.strerror}): check the path") from error
    if not names:
        raise DataError(f"folder must hold one directory for each class, got none in {directory}: put images into such")
    return names


def image_paths(directory: Path, prefix: str) -> Iterator[str]:
    """Yield image files at any depth, in torchvision's order, as paths that begin with `prefix`; os.path is fast for many files.

    Raises DataError for a directory that cannot be listed, whose images would be missing, and for one that links lead to twice,
    whose images would count twice.
    """
    seen: set[tuple[int, int]] = set()

    def fail(error: OSError) -> NoReturn:
        raise DataError(
            f"folder {error.filename} cannot be read ({error.strerror}): check rights, links and the length of the path"
        )

    def walk() -> Iterator[tuple[str, list[str]]]:
        for where, _, files in os.walk(directory, onerror=fail, followlinks=True):
            found = os.stat(where)  # noqa: PTH116
            if (found.st_dev, found.st_ino) in seen:
                raise DataError(f"folder {where} must be reached once, got another way to it by links: remove one of them")
            seen.add((found.st_dev, found.st_ino))
            yield where, files

    for where, files in sorted(walk()):
        below = os.path.normpath(os.path.join(prefix, os.path.relpath(where, directory)))  # noqa: PTH118
        for file in sorted(files):
            if os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES | UNSUPPORTED_IMAGE_SUFFIXES and file[0] != ".":  # noqa: PTH122
                yield f"{below}/{file}"
