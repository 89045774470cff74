"""Class maps, and names for classes that have none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.data.class_names import (
    complete_class_names,
    map_classes,
    numbered_class_names,
    read_class_map,
    same_class_name,
)
from robustbench_fgsm.errors import DataError, InputError


def pets(classes: tuple[str, ...] = ("cat", "dog")) -> rf.ArrayDataset:
    labels = torch.arange(len(classes))
    return rf.ArrayDataset("pets", torch.rand(len(classes), 1, 2, 2), labels, classes)


def written(place: Path, found: object) -> Path:
    file = place / "map.json"
    file.write_text(found if isinstance(found, str) else json.dumps(found))
    return file


@pytest.mark.parametrize(
    ("found", "labels", "names"),
    [
        (["dog", "cow", "cat"], [2, 0], ("dog", "cow", "cat")),
        ({"cat": 3, "dog": 1}, [3, 1], ("0", "dog", "2", "cat")),
        ({"0": ["dog", "hound"], "1": ["cat", "tabby"]}, [1, 0], ("hound", "tabby")),
    ],
)
def test_a_map_places_every_class(tmp_path: Path, found: object, labels: list[int], names: tuple[str, ...]) -> None:
    data = map_classes(pets(), written(tmp_path, found))
    assert data.classes == names
    assert next(iter(data)).labels.tolist() == labels


def test_a_list_names_unnamed_classes(tmp_path: Path) -> None:
    data = map_classes(pets(numbered_class_names(2)), written(tmp_path, ["cat", "dog", "cow"]))
    assert data.classes == ("cat", "dog", "cow")
    assert next(iter(data)).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("{", "must be JSON"),
        (3, "must have a valid content, got 3"),
        ([1, 2], "must have a valid 0, got 1"),
        ({"cat": "x", "dog": 1}, "must have a valid cat, got 'x'"),
        ({"cat": 0, "dog": 0}, "an index of its own from 0"),
        ({"cat": -1, "dog": 0}, "must have a valid cat, got -1"),
        ({"cat": True}, "must have a valid cat, got True"),
        ({"0": ["n1", "cat", "x"]}, "must have a valid 0, got"),
        ({"-1": ["n1", "cat"]}, "must have a valid -1, got"),
        ({"0": "ab", "1": ["n1", "cat"]}, "must have a valid 0, got 'ab'"),
        (["cat", "cat"], "an index of its own from 0"),
        (["cat", "dogs"], "got no 'dog': did you mean dogs?"),
    ],
)
def test_rejects_invalid_maps(tmp_path: Path, found: object, message: str) -> None:
    with pytest.raises(InputError) as raised:
        map_classes(pets(), written(tmp_path, found))
    assert message in str(raised.value)


def test_rejects_a_missing_map(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_class_map(tmp_path / "none.json")


def test_too_few_names_for_unnamed_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must name all 2 classes, got 1"):
        map_classes(pets(numbered_class_names(2)), written(tmp_path, ["cat"]))


def test_rejects_names_that_are_not_numbers() -> None:
    with pytest.raises(DataError, match="called by numbers, got 'cat'"):
        map_classes(pets(), Path("numbers"))


@pytest.mark.parametrize(
    ("classes", "known", "expected"),
    [
        ((), None, ("0", "1", "2")),
        (("0", "1"), ("a", "b", "c"), ("a", "b", "c")),
        (("0", "dog", "2"), ("a", "b", "c"), ("a", "dog", "c")),
        (("cat", "dog"), ("a", "b", "c"), ("cat", "dog")),
        (("0", "1", "2", "3"), ("a", "b", "c"), ("0", "1", "2", "3")),
    ],
)
def test_classes_without_names_take_the_models(
    classes: tuple[str, ...], known: tuple[str, ...] | None, expected: tuple[str, ...]
) -> None:
    assert complete_class_names(classes, 3, known) == expected
    assert complete_class_names(expected, 3, known) == expected


def test_spellings_of_a_name() -> None:
    assert same_class_name("great_white_shark", "Great white shark")
    assert not same_class_name("cat", "dog")
