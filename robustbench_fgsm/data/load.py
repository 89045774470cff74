"""A data spec to a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustbench_fgsm.data.class_names import map_classes
from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.registry import DATA_SOURCES, DEFAULT_ROOT, DataOptions, find_data_source
from robustbench_fgsm.data.subset import Subset, first_images, sample_images
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.models.preprocessing import Preprocessing


def load_data(
    data: str,
    *,
    limit: int | None = None,
    sample: int | None = None,
    stratified: bool = False,
    seed: int = 0,
    split: str | None = None,
    root: Path | str = DEFAULT_ROOT,
    download: bool = False,
    layout: str | None = None,
    class_map: Path | str | None = None,
    image_size: int | None = None,
    preprocessing: Preprocessing | None = None,
    workers: int | None = None,
) -> Dataset:
    """The data set that a spec names, such as `fashion-mnist`, `folder:DIR` or `npz:FILE`; nothing is read as a whole.

    limit: only so many images, from the first. sample: only so many, drawn with `seed`; stratified: as many of each class
    as its share comes to. Images keep the ids they have in the whole set. split: part of the data, where there are parts.
    root: directory of torchvision's data sets; download: fetch them into it. layout: NCHW, NHWC or NHW, where the shape
    of an array does not tell. class_map: JSON file with the model's order of classes. image_size: resize the shorter side
    and cut out the square in the middle; preprocessing: the same, in full. workers: processes that decode images; by
    default as many as help.

    Raises DataError for data that are unknown or not what they should be, SettingError for settings that make no sense,
    UnsafeError for data that would run code or reach outside of their archive, and ResourceError.
    """
    check_data_options(limit=limit, sample=sample, stratified=stratified, image_size=image_size, workers=workers)
    entry, argument = find_data_source(data)
    options = DataOptions(split, Path(root), download, layout, workers, None if class_map is None else Path(class_map))
    found: Dataset = DATA_SOURCES.load(entry).load(argument, options)
    if isinstance(found, (ArrayDataset, ImageDataset)):
        found.name = data
    if options.class_map is not None:
        found = map_classes(found, options.class_map)
    if preprocessing is None and image_size is not None:
        preprocessing = Preprocessing.square(image_size)
    if preprocessing is not None:
        found = _apply_preprocessing(found, preprocessing)
    found = _select_images(found, limit, sample, seed, stratified=stratified)
    asked: dict[str, Any] = {
        "sample": sample,
        "seed": seed if sample is not None else None,
        "stratified": stratified or None,
        "split": split,
        "root": None if Path(root) == DEFAULT_ROOT else str(root),
        "layout": layout,
        "class_map": None if class_map is None else str(class_map),
        "image_size": image_size,
    }
    if isinstance(found, (ArrayDataset, ImageDataset, Subset)):
        found.settings = {name: value for name, value in asked.items() if value is not None}
    return found


def check_data_options(
    *, limit: int | None, sample: int | None, stratified: bool, image_size: int | None, workers: int | None
) -> None:
    """Raise SettingError for options of `load_data` that make no sense alone or together."""
    if limit is not None and sample is not None:
        raise SettingError(f"limit and sample exclude each other, got {limit} and {sample}: leave one out")
    if stratified and sample is None:
        raise SettingError("stratified is about a sample, got none: pass --sample N")
    if image_size is not None and image_size < 1:
        raise SettingError(f"image size must be a positive number of pixels, got {image_size}: try 224")
    if workers is not None and workers < 0:
        raise SettingError(f"workers must be 0 or more, got {workers}: leave it out for as many as help")


def _apply_preprocessing(data: Dataset, preprocessing: Preprocessing) -> Dataset:
    if not isinstance(data, ImageDataset):
        raise SettingError(f"image size is for image files, got {data.name}, whose images all have one size: leave it out")
    return data.with_preprocessing(preprocessing)


def _select_images(data: Dataset, limit: int | None, size: int | None, seed: int, *, stratified: bool) -> Dataset:
    return first_images(data, limit) if size is None else sample_images(data, size, seed=seed, stratified=stratified)
