"""Loading of a data set from a data spec."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robustbench_fgsm.data.class_names import map_classes, shift_labels
from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.labels import MULTI_LABEL_REMEDY
from robustbench_fgsm.data.limit import choose_images
from robustbench_fgsm.data.python_objects import object_to_dataset
from robustbench_fgsm.data.registry import DATA_SOURCES, DEFAULT_ROOT, DataOptions, find_data_source
from robustbench_fgsm.data.sample_request import SampleRequest
from robustbench_fgsm.data.subset import Subset
from robustbench_fgsm.errors import DataError, SettingError
from robustbench_fgsm.files.regular_files import expand_home
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.spec import Task, check_integer, check_task_name, is_multi_label, task_of


def as_dataset(data: Any, task: Task = "multiclass") -> Dataset:
    """Return the data set of anything that `load_data` takes; a Dataset stays as it is.

    Raises DataError for a data set of multi-hot labels if the task is `multiclass`; the preflight names the opposite mistake.
    """
    if not isinstance(data, Dataset):
        return load_data(data, task=task)
    if is_multi_label(data) and task == "multiclass":
        raise DataError(f"data must have one class an image, got multi-hot labels in {data.name}: {MULTI_LABEL_REMEDY}")
    return data


@neutral_settings(generators=True)
def load_data(
    data: str | Path | Any,
    *,
    limit: int | None = None,
    sample: int | str | None = "auto",
    stratified: bool = False,
    seed: int = 0,
    split: str | None = None,
    root: Path | str = DEFAULT_ROOT,
    download: bool = False,
    layout: str | None = None,
    labels_from: int = 0,
    images_key: str | None = None,
    labels_key: str | None = None,
    shape: str | Sequence[int] | None = None,
    follow_links: bool = False,
    class_map: Path | str | None = None,
    image_size: int | None = None,
    preprocessing: Preprocessing | None = None,
    workers: int | None = None,
    task: Task = "multiclass",
) -> Dataset:
    """Return the data set that a spec names, such as `fashion-mnist`, `folder:DIR` or `npz:FILE`; images are read when needed.

    Images keep the ids that they have in the whole data set.

    Args:
        data: a spec of `rfgsm list data`, a path, or an object: a DataLoader, a torch Dataset, (x, y), an iterator.
        limit: number of images to use, >= 1; None for all.
        sample: which images these are: `first`; `stratified`, each class in proportion to its share; `random`; or `auto`, which
            is `first` unless the data are in class order or the first images miss classes. A number is short for that limit and
            `random`.
        stratified: short for sample `stratified`.
        seed: seed of the sample.
        split: part of the data; None for the source's default.
        root: directory of downloaded data.
        download: download the data into `root`.
        layout: axes of arrays: `NCHW`, `NHWC`, `NHW`, `NF`, `NCL`, `NLC`, `NCDHW` or `NDHWC`; None to infer them from the shape.
        labels_from: label of the first class, 0 or 1.
        images_key: name of the array, column or key that holds the images; None for the usual names.
        labels_key: name of the array, column or key that holds the labels, or number of a column; None for the usual names.
        shape: shape of one sample of a table, such as `28x28` or `3x32x32`; None to keep features.
        follow_links: follow links in a directory of images, if they stay inside the directory; False raises an error for a link.
        class_map: JSON file with the model's order of classes; None to keep the data's order.
        image_size: resize the shorter side to so many pixels, and cut out the centre square; None to keep the size.
        preprocessing: resizing and cropping in full, in place of `image_size`.
        workers: processes that decode images, >= 0; None for as many as help.
        task: `multiclass`, or `multilabel` for multi-hot labels (N, K) of 0 and 1; a limit then draws a random sample by default.

    Returns:
        Data set of labelled images.

    Raises:
        DataError: the data are unknown or invalid.
        SettingError: a setting is invalid alone or together with another one.
        UnsafeError: the data would run code or reach outside their archive.
        ResourceError: there is not enough memory or disk space.
    """
    seed = check_integer("seed", seed)
    request = SampleRequest.parse(limit, sample, stratified=stratified)
    check_data_options(image_size=image_size, workers=workers)
    options = DataOptions(
        split,
        expand_home(root),
        download,
        layout,
        workers,
        None if class_map is None else expand_home(class_map),
        images_key,
        labels_key,
        parse_shape(shape),
        follow_links,
        check_task_name(task),
    )
    if task == "multilabel" and (labels_from or class_map is not None):
        raise SettingError("labels_from and class_map are about one class an image, got task multilabel: leave them out")
    if isinstance(data, (str, os.PathLike)):
        entry, argument = find_data_source(os.fspath(data))
        options.reject_unread(entry)
        found: Dataset = DATA_SOURCES.load(entry).load(argument, options)
        if isinstance(found, (ArrayDataset, ImageDataset)):
            found.name = os.fspath(data)
    else:
        found = object_to_dataset(data, options, limit=limit if request.rule in ("auto", "first") else None)
    code = getattr(found, "code_sha256", "")
    if task_of(found) != task:
        raise DataError(
            f"data must have one class an image, got multi-hot labels in {found.name}: {MULTI_LABEL_REMEDY}"
            if is_multi_label(found)
            else f"data must have multi-hot labels (N, K) for task multilabel, got one class an image in {found.name}: save images "
            "and labels as npz:FILE, or leave task multilabel out"
        )
    if labels_from:
        found = shift_labels(found, labels_from)
    if options.class_map is not None:
        found = map_classes(found, options.class_map)
    if preprocessing is None and image_size is not None:
        preprocessing = Preprocessing.square(image_size)
    if preprocessing is not None:
        if not isinstance(found, ImageDataset):
            raise SettingError(f"image size is for image files, got {found.name}, whose images all have one size: leave it out")
        found = found.with_preprocessing(preprocessing)
    found, rule = choose_images(found, request, seed)
    recorded = request.text or (None if rule == "first" else rule)
    asked: dict[str, Any] = {
        "sample": recorded,
        "seed": None if recorded in (None, "first") else seed,
        "stratified": True if stratified and isinstance(recorded, int) else None,
        "split": split,
        "root": None if Path(root) == DEFAULT_ROOT else str(root),
        "layout": layout,
        "labels_from": labels_from or None,
        "images_key": images_key,
        "labels_key": labels_key,
        "shape": None if options.shape is None else "x".join(map(str, options.shape)),
        "follow_links": follow_links or None,
        "class_map": None if class_map is None else str(class_map),
        "image_size": image_size,
        "task": None if task == "multiclass" else task,
    }
    if isinstance(found, (ArrayDataset, ImageDataset, Subset)):
        found.settings = {name: value for name, value in asked.items() if value is not None}
        found.code_sha256 = code
    return found


def parse_shape(shape: str | Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the shape of one sample from `28x28` or numbers; raise SettingError for other text."""
    if shape is None:
        return None
    words = shape.lower().split("x") if isinstance(shape, str) else [str(size) for size in shape]
    if not 1 <= len(words) <= 4 or not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise SettingError(f"shape must be 1 to 4 positive numbers with x between, got {shape!r}: try 28x28 or 3x32x32")
    return tuple(map(int, words))


def check_data_options(*, image_size: int | None, workers: int | None) -> None:
    """Raise SettingError for options of `load_data` that are invalid alone or together."""
    if image_size is not None and image_size < 1:
        raise SettingError(f"image size must be a positive number of pixels, got {image_size}: try 224")
    if workers is not None and workers < 0:
        raise SettingError(f"workers must be 0 or more, got {workers}: leave it out for as many as help")
