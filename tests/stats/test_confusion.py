"""Test dense and sparse confusion matrices against each other."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_fgsm.stats import confusion
from robustbench_fgsm.stats.confusion import Matrix, confusion_matrix, matrix_to_json

ROWS, COLUMNS = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 2, 2, 0, 0, 2])


@pytest.fixture(params=["dense", "sparse"])
def matrix(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Matrix:
    """Return the matrix [[1, 0, 1], [2, 0, 1], [0, 0, 1]]."""
    if request.param == "sparse":
        monkeypatch.setattr(confusion, "MAX_DENSE_CLASSES", 2)
    return confusion_matrix(ROWS, COLUMNS, 3)


def test_sums(matrix: Matrix) -> None:
    assert confusion.trace(matrix) == 2
    assert confusion.diagonal(matrix).tolist() == [1, 0, 1]


def test_argmax_off_diagonal(matrix: Matrix) -> None:
    assert confusion.argmax_off_diagonal(matrix).tolist() == [2, 0, -1]


def test_nonzero_entries(matrix: Matrix) -> None:
    rows, columns, counts = confusion.nonzero_entries(matrix + confusion.zero_matrix(3))
    assert list(zip(rows, columns, counts, strict=True)) == [(0, 0, 1), (0, 2, 1), (1, 0, 2), (1, 2, 1), (2, 2, 1)]


def test_large_matrices_are_sparse() -> None:
    matrix = np.zeros((101, 101), np.int64)
    matrix[3, 100] = 7
    assert matrix_to_json(matrix) == {"shape": [101, 101], "rows": [3], "columns": [100], "counts": [7]}
    assert matrix_to_json(matrix[:100, :100]) == [[0] * 100] * 100
