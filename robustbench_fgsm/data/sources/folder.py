"""`folder:DIR`: a directory with one directory of images for each class, as torchvision's ImageFolder takes it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from robustbench_fgsm.data.class_names import numbered_class_names
from robustbench_fgsm.data.dataset import printable_name
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.labels import UNLABELLED
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.image_files import FileImageSource
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.files.regular_files import is_file, is_present

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".ppm", ".pgm", ".pbm", ".tif", ".tiff", ".webp"))
SPLIT_NAMES = ("val", "validation", "valid", "test", "testing", "train", "training")
"""Names of directories of splits, in the order in which one is proposed."""

UNSUPPORTED_IMAGE_SUFFIXES = frozenset((".gif", ".heic", ".heif", ".avif", ".jp2", ".ico", ".tga", ".psd", ".svg", ".eps", ".dds"))
"""Images that are not decoded, and therefore count as bad; files that are no images count as nothing."""


def load(argument: str, options: DataOptions) -> ImageDataset:
    """Return the images below each class directory, with classes sorted by name, as torchvision sorts them.

    A split is a directory between. A class without images stays a class. Raises DataError if there are no classes or no images, or
    classes are named by numbers that differ from their labels.
    """
    directory = Path(argument) / (options.split or "")
    classes = class_directories(directory, follow_links=options.follow_links)
    if options.split is None and (splits := splits_of(directory)):
        raise DataError(
            f"folder {directory} must hold one directory for each class, got {'splits' if splits[1:] else 'the split'} "
            f"{', '.join(sorted(splits))}: pass --split {splits[0]}"
        )
    if options.class_map is None and len(classes) == 1 and _holds_directories_alone(directory / classes[0]):
        raise DataError(
            f"folder {directory} must hold one directory for each class, got {classes[0]} alone, which holds directories: "
            f"pass folder:{directory / classes[0]}"
        )
    if options.class_map is None and all(map(str.isdecimal, classes)):
        wrong = next((label for label, name in enumerate(classes) if int(name) != label), None)
        if wrong is not None:
            raise DataError(
                f"class directories of {directory} must be numbers from 0 without gaps, or names, got {classes[wrong]} in place "
                f"{wrong}, sorted as text: pass --class-map numbers where they are the model's own indices, or a FILE"
            )
        return load_class_directories(directory, classes, options).with_class_names(numbered_class_names(len(classes)))
    return load_class_directories(directory, classes, options)


def splits_of(directory: Path) -> list[str]:
    """Return the splits that a directory holds in place of classes, those to evaluate on first; empty if it holds none.

    One directory named as a split is a split if it holds directories and no image, and no directory beside it holds images.
    """
    by_word = {entry.name.lower(): entry for entry in _visible_entries(directory) if entry.is_dir()}  # such as Training and Testing
    known = [by_word.pop(word) for word in SPLIT_NAMES if word in by_word]
    if len(known) == 1:
        known = known if _holds_directories_alone(known[0]) and not any(map(_holds_images, by_word.values())) else []
    return [entry.name for entry in known]


def _holds_directories_alone(place: Path | os.DirEntry[str]) -> bool:
    """Return True if a directory holds directories and no image."""
    inside = _visible_entries(place)
    return any(entry.is_dir() for entry in inside) and not any(map(_is_image, inside))


def _holds_images(place: os.DirEntry[str]) -> bool:
    """Return True if there are images in a directory, or one level below it."""
    return any(
        _is_image(entry) or (entry.is_dir() and any(map(_is_image, _visible_entries(entry)))) for entry in _visible_entries(place)
    )


def _is_image(entry: os.DirEntry[str]) -> bool:
    return is_image_name(entry.name) and not entry.is_dir()


def _visible_entries(place: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        return [entry for entry in os.scandir(place) if entry.name[0] != "."]
    except OSError:  # the loader names the reason
        return []


def load_class_directories(directory: Path, classes: list[str], options: DataOptions) -> ImageDataset:
    """Return the images of these class directories, in that order, and then images beside them, which have no label."""
    tree = ImageTree(directory, follow_links=options.follow_links)
    found = [(path, label) for label, name in enumerate(classes) for path in tree.image_paths(name)]
    found += [(path, UNLABELLED) for path in tree.loose_images()] if found else []
    if not found:
        raise DataError(f"folder must hold images ({', '.join(sorted(IMAGE_SUFFIXES))}), got none in {directory}: check the path")
    paths, labels = zip(*found, strict=True)
    return ImageDataset(
        f"folder:{directory}",
        FileImageSource(directory, paths, labels, follow_links=options.follow_links),
        tuple(map(printable_name, classes)),
        workers=options.workers,
    )


def class_directories(directory: Path, *, follow_links: bool) -> list[str]:
    """Return the names of the directories in a directory, sorted, without hidden ones; raise DataError if there are none."""
    names = sorted(entry.name for entry in ImageTree(directory, follow_links=follow_links).directories(directory))
    if not names:
        raise DataError(f"folder must hold one directory for each class, got none in {directory}: put the images into them")
    return names


class ImageTree:
    """Image files below a root directory. No link leads out of the root, and no image or directory is reached twice.

    follow_links: follow links inside the root; without it, a link is an error, because what it leads to would be missing.
    """

    def __init__(self, root: Path, *, follow_links: bool) -> None:
        self._root, self._follow_links = root, follow_links
        self._reached: set[str] = set()

    def directories(self, place: Path) -> list[os.DirEntry[str]]:
        """Return the directories in a directory, without hidden ones."""
        entries = [entry for entry in self._entries(str(place)) if entry.name[0] != "."]
        self._check_links(entries, images=False)
        return [entry for entry in entries if entry.is_dir()]

    def loose_images(self) -> list[str]:
        """Return the names of images in the root itself, sorted."""
        return sorted(entry.name for entry in self._entries(str(self._root)) if _is_image(entry))

    def image_paths(self, name: str) -> Iterator[str]:
        """Yield image files below a directory of the root at any depth, in torchvision's order, as paths relative to the root.

        Raises DataError for a directory that cannot be listed and for a link that is not followed, whose images would be missing,
        and for what links lead to twice, which would count twice.
        """
        top = str(self._root / name)
        found: list[tuple[str, list[str]]] = []
        waiting = [top]
        while waiting:
            place = waiting.pop()
            self._reach(place)
            entries = self._entries(place)
            self._check_links(entries, images=True)
            waiting += [entry.path for entry in entries if entry.is_dir() and entry.name[0] != "."]
            images = sorted(entry.name for entry in entries if is_image_name(entry.name) and not entry.is_dir())
            found.append((place, images))
        for place, images in sorted(found):
            below = os.path.normpath(os.path.join(name, os.path.relpath(place, top)))  # noqa: PTH118  (fast for many files)
            for image in images:
                self._reach(f"{place}/{image}")
                yield f"{below}/{image}"

    def _entries(self, place: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(place) as listed:
                return list(listed)
        except OSError as error:
            raise DataError(
                f"folder {place} cannot be read ({error.strerror}): check rights, links and the length of the path"
            ) from error

    def _check_links(self, entries: Iterable[os.DirEntry[str]], *, images: bool) -> None:
        """Raise DataError for a link that must not be followed; links to files other than images lead to nothing that counts."""
        for entry in entries:
            if entry.is_symlink() and ((images and is_image_name(entry.name)) or not is_file(Path(entry.path))):
                self._check_link(entry.path)

    def _check_link(self, link: str) -> None:
        target = Path(os.path.realpath(link))
        if not is_present(target) or target.is_symlink():
            raise DataError(f"folder {self._root} must hold whole links, got {link}, which leads nowhere: fix or remove it")
        if not target.is_relative_to(os.path.realpath(self._root)):
            raise DataError(f"folder {self._root} must hold its images itself, got {link}, a link out of it: replace it by a copy")
        if not self._follow_links:
            raise DataError(
                f"folder {self._root} must hold no links, got {link}: remove it, replace it by a copy, or pass --follow-links "
                "(in Python, load_data(..., follow_links=True)), which follows links inside the folder"
            )

    def _reach(self, path: str) -> None:
        if not self._follow_links:
            return
        real = os.path.realpath(path)
        if real in self._reached:
            raise DataError(f"folder {path} must be reached once, got another way to it by links: remove one of them")
        self._reached.add(real)


def is_image_name(name: str) -> bool:
    """Return True for the name of an image file that is not hidden."""
    return name[0] != "." and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES | UNSUPPORTED_IMAGE_SUFFIXES  # noqa: PTH122
