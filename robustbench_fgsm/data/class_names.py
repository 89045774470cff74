"""Names of classes, and maps from the data's labels to the model's classes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, RootModel

from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.registry import NUMBERED_CLASS_MAP
from robustbench_fgsm.errors import DataError, SettingError, did_you_mean
from robustbench_fgsm.files.json_files import parse_json_value
from robustbench_fgsm.files.regular_files import read_bytes
from robustbench_fgsm.files.validation import Schema, validate
from robustbench_fgsm.spec import MAX_CLASSES


def numbered_class_names(count: int) -> tuple[str, ...]:
    """Return names of classes without names, which are their labels; raise DataError for more than MAX_CLASSES."""
    if count > MAX_CLASSES:
        raise DataError(f"labels must be below {MAX_CLASSES:,}, got {count - 1}: take class indices from 0")
    return tuple(map(str, range(count)))


def is_unnamed_class(label: int, name: str) -> bool:
    """Return True if a class has no name but its own label."""
    return name == str(label)


def same_class_name(one: str, other: str) -> bool:
    """Return True if two names mean one class: `great_white_shark` is `Great white shark`."""
    first, second = (name.replace("_", " ").casefold() for name in (one, other))
    return first == second


def complete_class_names(classes: tuple[str, ...], num_classes: int, model_classes: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the data's class names, with the model's name for each class that has none.

    If a class has no name, labels are the model's indices, and the data may have fewer classes than the model has outputs. If all
    classes have names, or there are more classes than outputs, the names stay.
    """
    open_ended = not classes or any(is_unnamed_class(label, name) for label, name in enumerate(classes))
    if not open_ended or len(classes) > num_classes:
        return classes
    padded = classes + numbered_class_names(num_classes)[len(classes) :]
    if model_classes is None:
        return padded
    return tuple(
        model_name if is_unnamed_class(label, data_name) else data_name
        for label, (data_name, model_name) in enumerate(zip(padded, model_classes, strict=True))
    )


MAX_CLASS_MAP_BYTES = 2**26


class ClassNames(RootModel[list[str]]):
    """Class map: the names in the model's order."""

    model_config = ConfigDict(strict=True)


class IndexByName(RootModel[dict[str, Annotated[int, Field(ge=0, lt=MAX_CLASSES)]]]):
    """Class map: the model's index of each name."""

    model_config = ConfigDict(strict=True)


class NamesByIndex(
    RootModel[dict[Annotated[str, Field(pattern=r"^[0-9]{1,7}$")], Annotated[list[str], Field(min_length=2, max_length=2)]]]
):
    """Class map of ImageNet: the data's name and the model's name of each index."""

    model_config = ConfigDict(strict=True)


def map_classes(data: Dataset, file: Path) -> Dataset:
    """Return the data with labels in the order of a class map, a JSON file.

    The map is a list of class names in the model's order, or an object from the data's class names to indices, or ImageNet's
    `{"0": ["n01440764", "tench"], ...}` with the data's and the model's name. `numbers` instead of a file means that class names
    are indices. Raises DataError for another form, or if the map lacks a class of the data.
    """
    index_by_name, names = numbered_class_map(data.classes) if str(file) == NUMBERED_CLASS_MAP else read_class_map(file)
    if not isinstance(data, (ArrayDataset, ImageDataset)):
        raise DataError(f"a class map needs data that are read here, got {data.name}: give the order there")
    unnamed = all(is_unnamed_class(label, name) for label, name in enumerate(data.classes))
    if unnamed and not set(data.classes) <= set(index_by_name):
        if len(data.classes) > len(names):
            raise DataError(f"{file} must name all {len(data.classes)} classes, got {len(names)}: add the others")
        return data.with_class_names(names)
    for name in data.classes:
        if name not in index_by_name:
            hint = did_you_mean(name, index_by_name).replace("choose from", "add it, or rename one of")
            raise DataError(f"{file} must place every class of the data, got no {name!r}: {hint}")
    return data.relabelled([index_by_name[name] for name in data.classes], names)


def shift_labels(data: Dataset, first: int) -> Dataset:
    """Return the data with label - first for each label; raise SettingError unless classes have no names and `first` is 1."""
    if first != 1:
        raise SettingError(f"labels must count classes from 0 or 1, got {first}: pass 0 or 1")
    if not isinstance(data, (ArrayDataset, ImageDataset)):
        raise SettingError(f"labels from 1 need data that are read here, got {data.name}: count classes from 0 there")
    if not all(is_unnamed_class(label, name) for label, name in enumerate(data.classes)):
        raise SettingError(
            f"labels from 1 need classes without names, got {data.classes[0]!r} in {data.name}: leave --labels-from out"
        )
    if data.classes:
        return data.relabelled(range(-1, len(data.classes) - 1), numbered_class_names(len(data.classes) - 1))
    return data.relabelled(range(-1, MAX_CLASSES), ())


def numbered_class_map(classes: tuple[str, ...]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the class map of class names that are numbers; raise DataError if one is not a number."""
    for name in classes:
        if not name.isdecimal():
            raise DataError(f"class map numbers needs data whose classes are called by numbers, got {name!r}: name a file")
    index_by_name = {name: int(name) for name in classes}
    return index_by_name, numbered_class_names(max(index_by_name.values(), default=-1) + 1)


def read_class_map(file: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the index of each of the data's class names, and the model's name of each index, a number if the map skips it."""
    try:
        pairs = _class_map_entries(parse_json_value(read_bytes(file, MAX_CLASS_MAP_BYTES, follow_links=True), file), file)
    except OSError as error:
        raise DataError(f"class map {file} cannot be read ({error.strerror}): check the path") from error
    index_by_name = {name: index for name, index, _ in pairs}
    indices = list(index_by_name.values())
    if len(set(indices)) != len(indices) or len(index_by_name) != len(pairs) or min(indices, default=0) < 0:
        raise DataError(f"class map {file} must give each class an index of its own from 0: look for doubles")
    names = list(numbered_class_names(max(indices, default=-1) + 1))
    for _, index, name in pairs:
        names[index] = name
    return index_by_name, tuple(names)


def _class_map_entries(found: object, file: Path) -> list[tuple[str, int, str]]:
    """Return the data's name, index and the model's name of each class; raise DataError for another form."""

    def parse(schema: type[Schema]) -> Schema:
        return validate(schema, found, f"class map {file}", DataError, "see the three forms of a class map in the docs")

    if isinstance(found, list):
        return [(name, index, name) for index, name in enumerate(parse(ClassNames).root)]
    if isinstance(found, dict) and any(isinstance(value, list) for value in found.values()):
        return [(data_name, int(index), model_name) for index, (data_name, model_name) in parse(NamesByIndex).root.items()]
    return [(name, index, name) for name, index in parse(IndexByName).root.items()]
