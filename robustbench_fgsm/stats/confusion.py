"""Confusion matrices: dense up to 100 classes, and sparse above, where most entries are zero."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = Any
"""(K, K) int64: a NumPy array up to `MAX_DENSE_CLASSES` classes, a `scipy.sparse.csr_array` above."""

Int64Array = NDArray[np.int64]

MAX_DENSE_CLASSES = 100
"""Classes of the largest dense matrix. Three matrices of 1,000 classes take 24 MB for each budget."""


def confusion_matrix(rows: Int64Array, columns: Int64Array, num_classes: int) -> Matrix:
    """Count how often each pair of classes occurs; rows, columns: (N,) classes."""
    if num_classes > MAX_DENSE_CLASSES:
        from scipy import sparse

        ones = np.ones(len(rows), np.int64)
        return sparse.coo_array((ones, (rows, columns)), (num_classes, num_classes)).tocsr()
    return np.bincount(rows * num_classes + columns, minlength=num_classes**2).reshape(num_classes, num_classes)


def zero_matrix(num_classes: int) -> Matrix:
    """Return a matrix of zeros, dense or sparse."""
    if num_classes > MAX_DENSE_CLASSES:
        from scipy import sparse

        return sparse.csr_array((num_classes, num_classes), dtype=np.int64)
    return np.zeros((num_classes, num_classes), np.int64)


def is_sparse(matrix: Matrix) -> bool:
    """Return whether the matrix is sparse."""
    return not isinstance(matrix, np.ndarray)


def trace(matrix: Matrix) -> int:
    """Return the sum of the diagonal."""
    return int(matrix.trace())


def diagonal(matrix: Matrix) -> Int64Array:
    """Return the diagonal (K,) of the matrix."""
    found: Int64Array = np.asarray(matrix.diagonal())
    return found


def nonzero_entries(matrix: Matrix) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return rows, columns and counts of the nonzero entries, in ascending order of row and column."""
    if not is_sparse(matrix):
        rows, columns = matrix.nonzero()
        return rows, columns, matrix[rows, columns]
    sorted_ = matrix.copy()
    sorted_.sum_duplicates()
    sorted_.eliminate_zeros()
    found = sorted_.tocoo()
    return found.row.astype(np.int64), found.col.astype(np.int64), found.data


def argmax_off_diagonal(matrix: Matrix) -> Int64Array:
    """Return for each row (K,) the column of its largest count off the diagonal, the first of ties; -1 if all are zero."""
    rows, columns, counts = nonzero_entries(matrix)
    off_diagonal = rows != columns
    rows, columns, counts = rows[off_diagonal], columns[off_diagonal], counts[off_diagonal]
    order = np.lexsort((columns, -counts, rows))
    found = np.full(matrix.shape[0], -1, np.int64)
    labels, first = np.unique(rows[order], return_index=True)
    found[labels] = columns[order][first]
    return found


def matrix_to_json(matrix: Matrix, max_dense_classes: int = MAX_DENSE_CLASSES) -> Any:
    """Return a list of lists up to 100 classes; above, {shape, rows, columns, counts} of the nonzero entries."""
    if matrix.shape[0] <= max_dense_classes:
        return matrix.tolist()
    rows, columns, counts = nonzero_entries(matrix)
    return {"shape": list(matrix.shape), "rows": rows.tolist(), "columns": columns.tolist(), "counts": counts.tolist()}


def matrix_from_json(matrix: Any) -> Int64Array:
    """Return the dense matrix (K, K) that `matrix_to_json` wrote in either form."""
    if not isinstance(matrix, dict):
        return np.array(matrix, np.int64)
    dense = np.zeros(matrix["shape"], np.int64)
    dense[matrix["rows"], matrix["columns"]] = matrix["counts"]
    return dense
