"""Labels in any form: taken as what they are, or refused with a remedy that works."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from robustbench_fgsm.data.labels import (
    check_multi_hot,
    count_from_one,
    to_class_index,
    to_class_indices,
    to_multi_hot,
    to_multi_hot_row,
)
from robustbench_fgsm.errors import DataError

LABELS = [2, 0, 1, 2]
PLAIN = np.array(LABELS)
BINARY = np.array([0, 1, 1, 0])


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        PLAIN,
        torch.tensor(LABELS),
        torch.tensor(LABELS, dtype=torch.uint8),
        torch.tensor(LABELS, dtype=torch.float64),
        torch.tensor(LABELS, dtype=torch.bfloat16),
        PLAIN.astype(np.uint64),
        PLAIN.astype(">i4"),
        PLAIN.astype(np.float16),
        PLAIN[:, np.newaxis],
        PLAIN.astype(object),
        np.eye(3)[PLAIN],
        np.eye(3, dtype=bool)[PLAIN],
        torch.eye(3)[LABELS],
        ["2", "0", "1", "2"],
        [torch.tensor(label) for label in LABELS],
    ],
)
def test_forms_of_the_same_labels(labels: object) -> None:
    found = to_class_indices(labels, "x")
    assert (found.indices.tolist(), found.indices.dtype) == (LABELS, torch.int64)


def test_columns_of_one_hot_labels_are_the_classes() -> None:
    assert to_class_indices(np.eye(5)[PLAIN], "x").num_classes == 5


def test_text_names_the_classes() -> None:
    text = np.array(["dog", "cat", "dog"])
    assert to_class_indices(text, "x").names == ("cat", "dog")
    assert to_class_indices(text, "x").indices.tolist() == [1, 0, 1]
    assert to_class_indices(text, "x", ("dog", "cat", "cow")).indices.tolist() == [0, 1, 0]
    with pytest.raises(DataError, match=r"among its classes, got 'cat': did you mean cap\?"):
        to_class_indices(text, "x", ("cap", "dog"))
    with pytest.raises(DataError, match="must have different names of classes, got 'dog' twice: pass class indices as labels"):
        to_class_indices(text, "x", ("dog", "cat", "dog"))
    assert to_class_indices([2, 1, 0], "x", ("dog", "cat", "dog")).indices.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("labels", "message", "remedied"),
    [
        (PLAIN + 0.5, "got 2.5 at image 0: pass one class index", PLAIN),
        (np.array([0, np.nan]), "got nan at image 1: .* leave out images without a label", PLAIN[:1]),
        (np.array([0, np.inf]), "got inf at image 1", PLAIN[:1]),
        (PLAIN == 1, "pass 1 for True and 0 for False", (PLAIN == 1).astype(int)),
        (PLAIN.astype(complex), "must have integer labels, got complex128", PLAIN),
        (PLAIN - 1, r"from 0, got -1: leave out .* \(keep = labels >= 0\)", PLAIN[PLAIN - 1 >= 0]),
        (np.array([1, -100]), r"from 0, got -100: leave out .* \(keep = labels >= 0\)", np.array([1])),
        (BINARY * 2 - 1, r"from 0, got -1: pass \(labels \+ 1\) // 2", BINARY),
        (np.array([[1, 0, 1]] * 4), r"multi-hot labels \(4, 3\), 2 classes at image 0: .*multilabel", None),
        (np.array([[0.2, 0.8]] * 4), r"got probabilities \(4, 2\): pass labels.argmax\(1\)", np.array([1] * 4)),
        (np.array([[4, 5]] * 4), "must have one integer label an image, got int64 of shape", None),
        (np.zeros((4, 8, 8), int), "rf.fgsm with a loss of your own takes labels of any shape", None),
        (np.uint64(2**63) + PLAIN.astype(np.uint64), "labels must be below 1,000,000", None),
        (np.ma.array(PLAIN, mask=PLAIN == 1), r"pass array.filled\(0\)", np.ma.array(PLAIN, mask=PLAIN == 1).filled(0)),
        (7, "pass a list of labels", None),
        ([1, [2, 3]], "must have one label an image, got labels that make no array", None),
        ([1, None], "must have integer labels, got .1, None.", None),
        (["a", ""], "a label for each image, got none at image 1", None),
        (np.array([["a", "b"]]), "one label an image, got text", None),
        (np.array(["2026-01-01"], dtype="datetime64[D]"), "must have integer labels", None),
    ],
)
def test_refuses_other_labels_with_a_remedy(labels: Any, message: str, remedied: Any) -> None:
    with pytest.raises(DataError, match=message):
        to_class_indices(labels, "x")
    if remedied is not None:
        to_class_indices(remedied, "x")


@pytest.mark.parametrize("label", [2, np.int8(2), torch.tensor(2), torch.tensor([2]), 2.0, np.eye(3)[2], "2"])
def test_one_label(label: object) -> None:
    assert to_class_index(label, "x") == 2


@pytest.mark.parametrize("label", [2.5, True, None, "two", -1, [0, 1, 1]])
def test_refuses_one_label(label: object) -> None:
    with pytest.raises(DataError):
        to_class_index(label, "x")


def test_labels_from_one() -> None:
    assert count_from_one(torch.tensor([1, 3, 2]), 3)
    assert not count_from_one(torch.tensor([0, 3]), 3)
    assert not count_from_one(torch.tensor([], dtype=torch.int64), 3)


ROWS = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize(
    "labels",
    [ROWS, ROWS.tolist(), ROWS == 1, ROWS.astype(np.float32), torch.tensor(ROWS, dtype=torch.bfloat16), ROWS.astype(str)],
    ids=["integers", "lists", "flags", "floats", "bfloat16", "text"],
)
def test_multi_hot_labels(labels: Any) -> None:
    found = to_multi_hot(labels, "x")
    assert (found.dtype, found.tolist()) == (torch.int64, ROWS.tolist())
    assert [to_multi_hot_row(label, "x") for label in labels] == [tuple(row) for row in ROWS.tolist()]
    check_multi_hot(found, 3, 3)


@pytest.mark.parametrize(
    ("labels", "message", "remedied"),
    [
        (PLAIN, r"multi-hot labels \(N, K\) .*, got int64 of shape \(4,\): .* pass their one-hot rows", np.eye(3)[PLAIN]),
        (ROWS[:, :1], "leave task multilabel out", None),
        (ROWS[:, :, None], "pass one row of 0 and 1 for each image", ROWS),
        (2 * ROWS - 1, r"of 0 and 1, got -1 for label 1 of image 0: pass \(labels > 0\)", 2 * ROWS - 1 > 0),
        (ROWS * 0.7, r"got 0.7 for label 0 of image 0: choose a threshold, for example \(labels > 0.5\)", ROWS * 0.7 > 0.5),
        (ROWS * 255, "got 255 for label 0 of image 0: leave out images without labels", None),
        (np.where(ROWS, np.nan, 0.0), "got nan for label 0 of image 0: leave out images without labels", None),
        ([[0, 2], [1]], "as sklearn.preprocessing.MultiLabelBinarizer makes them", [[1, 0, 1], [0, 1, 0]]),
        (np.array([["cat", "dog"]]), r"got <U3 of shape \(1, 2\): pass one row of 0 and 1", None),
        (None, "make", None),
    ],
)
def test_refuses_other_multi_hot_labels_with_a_remedy(labels: Any, message: str, remedied: Any) -> None:
    with pytest.raises(DataError, match=message):
        to_multi_hot(labels, "x")
    if remedied is not None:
        to_multi_hot(remedied, "x")


@pytest.mark.parametrize("labels", [torch.zeros(3), torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3, 3), torch.full((3, 3), 2)])
def test_checks_multi_hot_labels_of_other_data_sets(labels: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"labels must be 0 and 1 in an int64 tensor \(3, 3\)"):
        check_multi_hot(labels, 3, 3)
