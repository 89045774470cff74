"""`csv:FILE`: a table with one sample a line: its label, and its pixels or features, as Kaggle's MNIST."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import chain, compress, islice, pairwise
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.memory import check_memory
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.arrays import arrays_to_dataset, reading
from robustbench_fgsm.errors import DataError, SettingError, did_you_mean
from robustbench_fgsm.files.regular_files import open_to_read

LABEL_COLUMNS = ("label", "labels", "target", "class", "y", "species")
MAX_LINE_CHARACTERS = 1 << 26
ROWS_AT_A_TIME = 1024
ROWS_THAT_SHOW_COLUMNS = 64
MAX_FLOAT32 = float(np.finfo(np.float32).max)
FEW_LEVELS = 16
"""Whole numbers up to here, as in the digits of scikit-learn, are no levels of 255."""

PIXEL_NAME = re.compile(r"(pixel|px|p)?[ _-]?\d+([x_ -]\d+)*$", re.IGNORECASE)
MIN_PIXELS = 49
"""Columns of a square from which whole numbers of 0 to 255 without names are pixels of a grey image."""


@dataclass(frozen=True)
class Columns:
    """Columns of a table: names, empty if the file has none; and the places of the label, or of multi-hot labels."""

    names: tuple[str, ...]
    count: int
    labels: tuple[int, ...]

    @property
    def is_feature(self) -> list[bool]:
        """Return for each column whether it is a feature."""
        return [place not in self.labels for place in range(self.count)]


def load(argument: str, options: DataOptions) -> Dataset:
    """Return the samples of the file: grey images if the columns are pixels, else features; `shape` gives another shape.

    The label is the column named `label`, `target`, `class` or `y`, or the first one of a file without a header. Multi-hot labels
    are the columns that `labels_key` names, with commas between. Raises DataError
    if the file cannot be read, or a cell is not a number; ResourceError if it does not fit into memory.
    """
    options.reject_split("csv")
    file = Path(argument)
    with _open_table(file) as stream:
        features, labels, columns = _read_table(stream, file, options)
    images: NDArray[Any] = features
    if _are_pixels(features, columns, options.shape):
        _check_pixel_order([*compress(columns.names, columns.is_feature)], file)
        images = features.astype(np.uint8)
        if options.shape is None:
            side = math.isqrt(features.shape[1])
            images = images.reshape(-1, side, side)
    names = [columns.names[place] for place in columns.labels] if columns.names and options.task == "multilabel" else None
    return arrays_to_dataset(f"csv:{file}", images, labels, options, names)


def read_feature_names(file: Path, options: DataOptions) -> list[str]:
    """Return the names of the columns that are features, in their order; an empty list if the file has no header.

    Raises DataError if the file cannot be read.
    """
    with _open_table(file) as stream:
        columns, _ = _read_columns(stream, file, options)
    return [*compress(columns.names, columns.is_feature)]


@contextmanager
def _open_table(file: Path) -> Iterator[TextIO]:
    """Open a file as text; raise DataError if it cannot be read, there or in the block."""
    with (
        reading(f"csv {file}", "be text in UTF-8", (UnicodeDecodeError, csv.Error)),
        TextIOWrapper(open_to_read(file, follow_links=True), encoding="utf-8-sig", newline="") as stream,
    ):
        yield stream


def _read_columns(stream: TextIO, file: Path, options: DataOptions) -> tuple[Columns, Iterator[list[str]]]:
    """Return the columns that the first rows show, and the rows of samples."""
    lines = _bounded_lines(stream, file)
    first_line_text = next(lines, "")
    delimiter = max(",;\t", key=first_line_text.count)
    rows: Iterator[list[str]] = (row for row in csv.reader(chain([first_line_text], lines), delimiter=delimiter) if row)
    start = list(islice(rows, ROWS_THAT_SHOW_COLUMNS))
    if not start:
        raise DataError(f"csv {file} must have a line for each sample, got an empty file: check the path")
    columns = _find_columns(start, file, options)
    return columns, chain(start[1:] if columns.names else start, rows)


def _read_table(stream: TextIO, file: Path, options: DataOptions) -> tuple[NDArray[np.float32], list[Any], Columns]:
    """Return features float32 (N, F), the text of N labels or rows of labels, and the columns; few rows are parsed at a time."""
    columns, rows = _read_columns(stream, file, options)
    labels: list[Any] = []
    is_row = options.task == "multilabel"
    parts: list[NDArray[np.float32]] = []
    while chunk := list(islice(rows, ROWS_AT_A_TIME)):
        place = len(labels) + 1 + bool(columns.names)
        whole = [row if len(row) == columns.count else [""] * columns.count for row in chunk]
        labels += [[row[place] for place in columns.labels] if is_row else row[columns.labels[0]] for row in whole]
        parts.append(_parse_rows(chunk, columns, file, place))
        check_memory(2 * sum(part.nbytes for part in parts), str(file), "save it as npz:FILE, or cut it into parts")
    if not parts:
        raise DataError(f"csv {file} must have a line for each sample, got its header alone: check the path")
    return np.concatenate(parts), labels, columns


def _bounded_lines(stream: TextIO, file: Path) -> Iterator[str]:
    while line := stream.readline(MAX_LINE_CHARACTERS):
        if len(line) == MAX_LINE_CHARACTERS:
            raise DataError(
                f"csv {file} must have lines of less than {MAX_LINE_CHARACTERS:,} characters, got a longer one: save it as npz"
            )
        yield line


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # which Python takes between digits


def _find_columns(rows: Sequence[Sequence[str]], file: Path, options: DataOptions) -> Columns:
    """Return the columns that the first rows of a file show; raise DataError if the label's cannot be found."""
    count = len(rows[0])
    if count < 2:
        raise DataError(f"csv {file} must have a label and features in each line, got {rows[0][0]!r:.60}: separate them by commas")
    below = next((row for row in rows[1:] if len(row) == count), None)
    numbers = [_is_number(cell) for cell in rows[0]]
    counts_columns = count > 2 and [cell.strip() for cell in rows[0]] in (
        [*map(str, range(first, first + count))] for first in (0, 1)
    )
    is_header = counts_columns or not any(numbers) or (below is not None and any(map(_is_named_number, rows[0], below)))
    names = tuple(cell.strip() for cell in rows[0]) if is_header else ()
    values = [row for row in rows[bool(names) :] if len(row) == count]
    key = options.labels_key
    if options.task == "multiclass":
        return Columns(names, count, (_find_label(names, values, count, file, key),))
    if key is None:
        raise SettingError(f"csv {file} must name its columns of multi-hot labels, got no --labels-key: pass --labels-key A,B,C")
    places = tuple(_find_label(names, values, count, file, one.strip()) for one in key.split(","))
    if len(set(places)) != len(places) or len(places) == count:
        raise SettingError(f"--labels-key must name different columns beside those of the features, got {key}: leave some out")
    return Columns(names, count, places)


def _is_named_number(name: str, value: str) -> bool:
    return not _is_number(name) and _is_number(value)


def _find_label(names: tuple[str, ...], values: Sequence[Sequence[str]], count: int, file: Path, labels_key: str | None) -> int:
    if labels_key is not None:
        if labels_key in names:
            return names.index(labels_key)
        if labels_key.removeprefix("-").isdecimal() and -count <= int(labels_key) < count:
            return int(labels_key) % count
        known = did_you_mean(labels_key, names) if names else f"choose 0 to {count - 1}"
        raise SettingError(f"--labels-key must name a column of {file}, got {labels_key!r}: {known}")
    lower = [name.lower() for name in names]
    named = [lower.index(name) for name in LABEL_COLUMNS if name in lower]
    text = [place for place in range(count) if values and not any(_is_number(row[place]) for row in values)]
    if named or len(text) == 1:
        return (named or text)[0]
    whole = [place for place in (0, count - 1) if all(row[place].strip().isdecimal() for row in values)]
    first_varies = len({row[0] for row in values}) > 1 or len({row[-1] for row in values}) == 1  # else it may be a pixel of an edge
    if not names and (len(whole) == 1 or (0 in whole and first_varies and _is_square(count - 1))):
        return whole[0]
    found = ", ".join(names[:8]) + ("" if count <= 8 else ", ...") if names else f"{count} columns without names"
    raise DataError(
        f"csv {file} must have a column of labels named {', '.join(LABEL_COLUMNS[:5])}, got {found}: pass --labels-key NAME"
    )


def _is_square(count: int) -> bool:
    return count >= MIN_PIXELS and math.isqrt(count) ** 2 == count


def _parse_rows(rows: Sequence[Sequence[str]], columns: Columns, file: Path, first: int) -> NDArray[np.float32]:
    """Return the features of some rows; raise DataError, with the line, for a row that is not whole. first: number of its line."""
    for place, row in enumerate(rows, first):
        if len(row) != columns.count:
            raise DataError(
                f"csv {file} must have {columns.count} columns in each line, got {len(row)} in line {place}: complete it"
            )
    try:
        with np.errstate(over="ignore"):
            is_feature = columns.is_feature
            features = np.array([[*compress(row, is_feature)] for row in rows], dtype=np.float32)
    except (ValueError, OverflowError):
        features = np.array([[math.nan]], np.float32)
    if not bool(np.isfinite(features).all()) or any("_" in "".join(row) for row in rows):
        for place, row in enumerate(rows, first):
            for column, cell in enumerate(row):
                if column not in columns.labels and not (_is_number(cell) and abs(float(cell)) <= MAX_FLOAT32):
                    name = columns.names[column] if columns.names else f"column {column}"
                    raise DataError(
                        f"csv {file} must have finite numbers beside the label, got {cell!r:.30} in line {place}, {name}: "
                        "remove the line or the column, or pass --labels-key NAME if it is the label"
                    )
    return features


def _are_pixels(features: NDArray[np.float32], columns: Columns, shape: tuple[int, ...] | None) -> bool:
    """Return True if the features are 8-bit levels of images: whole numbers, of a square or given shape, and named like pixels."""
    named = all(PIXEL_NAME.match(name) for place, name in enumerate(columns.names) if place not in columns.labels)
    if not named or not (shape is not None or _is_square(features.shape[1])):
        return False
    low, high = float(features.min()), float(features.max())
    return low >= 0 and FEW_LEVELS < high <= np.iinfo(np.uint8).max and bool((features == np.trunc(features)).all())


def _check_pixel_order(names: Sequence[str], file: Path) -> None:
    """Raise DataError unless the numbers in the names of pixels rise, row by row or column by column."""
    places = [tuple(map(int, re.findall(r"\d+", name))) for name in names]
    rising = [one < next_one for one, next_one in pairwise(places)]
    if not all(rising) and not all(one[::-1] < next_one[::-1] for one, next_one in pairwise(places)):
        first = rising.index(False)
        raise DataError(
            f"csv {file} must have its pixels in order, got {names[first + 1]} after {names[first]}: "
            "sort the columns by number, or rename them if this is the order that the network takes"
        )
