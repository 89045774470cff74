"""Schema of the result of any command: what is read from a file again has its types, and no rate contradicts its counts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from robustbench_fgsm.errors import RunError
from robustbench_fgsm.files.json_files import read_json
from robustbench_fgsm.files.validation import FileSchema, validate
from robustbench_fgsm.runs.manifest_schema import (
    MAX_COUNT,
    AttackFields,
    BadFields,
    Count,
    DataFields,
    ModelFields,
    Name,
    SecondsFields,
)

REMEDY = "measure it again, or choose another directory"
RATE_KEYS = {"value", "count", "n", "low", "high"}
MATRIX_KEYS = ("confusion", "transition", "clean_confusion")
COUNT_KEYS = ("n", "label", "clean_correct")
RATES_BY_MATRIX = (("confusion", "robust_accuracy"), ("confusion", "accuracy"), ("clean_confusion", "clean_accuracy"))
"""A matrix, and the rate of its diagonal beside it."""

Share = Annotated[float, Field(ge=0, le=1)]


class RateFields(FileSchema):
    """A rate, whose value is its count over n; the count may be a difference below 0."""

    value: float | None
    count: Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)]
    n: Count
    low: Share | None
    high: Share | None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        value = self.count / self.n if self.n else None
        if (value is None) != (self.value is None) or not math.isclose(value or 0.0, self.value or 0.0, abs_tol=1e-9):
            raise ValueError(f"{self.count} of {self.n} is {value}, not {self.value}")
        if (self.low or 0.0) > (1.0 if self.high is None else self.high):
            raise ValueError(f"an interval from {self.low} to {self.high} is empty")
        return self


class MatrixFields(FileSchema):
    """A dense matrix of counts, with as many rows as columns."""

    matrix: list[list[Count]]

    @model_validator(mode="after")
    def _check_square(self) -> Self:
        if any(len(row) != len(self.matrix) for row in self.matrix):
            raise ValueError(f"{len(self.matrix)} rows have other numbers of columns")
        return self


class NumberFields(FileSchema):
    """A count, or a budget."""

    count: Count | None = None
    epsilon: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class ResultFields(FileSchema):
    """Fields that results of several commands have, if they are there; a command that needs one checks that it is there."""

    schema_: Name = Field("", alias="schema")
    status: Name = ""
    exit_code: Annotated[int, Field(ge=0, le=130)] = 0
    invalid_reasons: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    environment: dict[str, Any] = Field(default_factory=dict)
    seconds: SecondsFields = SecondsFields()
    model: ModelFields | None = None
    models: list[ModelFields] | None = None
    data: DataFields | None = None
    attack: AttackFields | None = None
    n: Count | None = None
    bad: BadFields | None = None
    evaluations: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = None
    epsilons: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = None
    references: list[dict[str, Any]] | None = None
    cells: list[dict[str, Any]] | None = None


class StoredResult(dict[str, Any]):
    """Result that was read from a file, of which not every field was compared with the schema."""

    def __init__(self, document: dict[str, Any], file: Path) -> None:
        super().__init__(document)
        self.file = file


def read_result(file: Path) -> StoredResult:
    """Return the result in a file; raise RunError, which names the field, if a value is not as rfgsm writes it."""
    return check_result(read_json(file), file)


def check_result(document: dict[str, Any], file: Path) -> StoredResult:
    """Return the result that was read from a file; raise as `read_result` does."""
    validate(ResultFields, document, file, RunError, REMEDY)
    for place, value in _fields(document):
        key = place.rpartition(".")[2]
        if isinstance(value, dict) and value.keys() == RATE_KEYS:
            validate(RateFields, value, f"{place} in {file}", RunError, REMEDY)
        elif key in MATRIX_KEYS and isinstance(value, list):
            validate(MatrixFields, {"matrix": value}, f"{place} in {file}", RunError, REMEDY)
        elif key in (*COUNT_KEYS, "epsilon") and not isinstance(value, (dict, list)):
            kind = "epsilon" if key == "epsilon" else "count"
            validate(NumberFields, {kind: value}, f"{place} in {file}", RunError, REMEDY)
    for place, parent in [("", document), *_fields(document)]:
        if isinstance(parent, dict):
            _check_diagonals(parent, f"{place} in {file}" if place else str(file))
    return StoredResult(document, file)


def _check_diagonals(parent: dict[str, Any], place: str) -> None:
    """Raise RunError if a dense matrix has another number on its diagonal than the rate beside it counts."""
    for matrix, rate in RATES_BY_MATRIX:
        rows, found = parent.get(matrix), parent.get(rate)
        if isinstance(rows, list) and isinstance(found, dict) and found.keys() == RATE_KEYS:
            right, total = sum(row[index] for index, row in enumerate(rows)), sum(map(sum, rows))
            if right != found["count"] or total > found["n"]:
                counted = f"{rate} counts {found['count']} of {found['n']}"
                raise RunError(f"{place} must have a valid {matrix}, got {right} right of {total} where {counted}: {REMEDY}")


def _fields(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield place and value of every key at every depth, but not the numbers of matrices."""
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        place, parent = waiting.pop()
        for key, value in parent.items() if isinstance(parent, dict) else enumerate(parent):
            where = f"{place}.{key}" if place else str(key)
            yield where, value
            if isinstance(value, dict) or (isinstance(value, list) and str(key) not in MATRIX_KEYS):
                waiting.append((where, value))
