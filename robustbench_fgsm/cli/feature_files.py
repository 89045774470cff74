"""Options whose value is a few numbers or a file with numbers for each feature: `--bounds` and `--eps-scale`; NumPy loads late."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.feature_values import MAX_VALUES
from robustbench_fgsm.files.regular_files import read_text
from robustbench_fgsm.spec import Bounds, check_bounds

SUFFIXES = (".csv", ".npz")
MAX_BYTES = 64 * MAX_VALUES
"""Size above which a file cannot hold one setting."""


class FeatureColumn(tuple[float, ...]):
    """Numbers of a file, one for each feature. option: option and file; features: their names, empty if the file has none."""

    option: str = ""
    features: tuple[str, ...] = ()


def parse_bounds(text: str) -> Bounds:
    """Return the bounds of `LOW,HIGH`, of such pairs with semicolons between, or of a file with `low` and `high` of each feature.

    Raises SettingError for other text, for a file that cannot be read, and as `check_bounds` does.
    """
    if is_feature_file(text):
        low, high = read_bounds_file(text)
        return check_bounds((low, high))
    remedy = "try 0,1, or a .csv file with the columns low and high"
    pairs = [parse_numbers("--bounds", pair, remedy) for pair in text.split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise SettingError(f"--bounds must be LOW,HIGH, or several LOW,HIGH with semicolons between, got {text!r:.60}: {remedy}")
    return check_bounds(pairs[0] if len(pairs) == 1 else tuple(zip(*pairs, strict=True)))


def parse_epsilon_scale(text: str) -> Any:
    """Return `range`, the numbers of a comma list, or those of a file with the column `scale`."""
    if text == "range":
        return text
    if is_feature_file(text):
        return read_feature_columns("--eps-scale", Path(text), ("scale",))[0]
    found = parse_numbers("--eps-scale", text, "try range, or a .csv file with the column scale")
    return found[0] if len(found) == 1 else found


def is_feature_file(text: str) -> bool:
    """Return True if the text names a file."""
    return text.lower().endswith(SUFFIXES)


def read_bounds_file(file: str) -> list[Any]:
    """Return low and high of each feature; raise SettingError as `read_feature_columns` does."""
    return read_feature_columns("--bounds", Path(file), ("low", "high"))


def parse_numbers(option: str, text: str, remedy: str) -> tuple[float, ...]:
    """Return the numbers of a comma list; raise SettingError, with the option and the remedy, for other text."""
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise SettingError(f"{option} must be numbers with commas between, got {text!r}: {remedy}") from None


def read_feature_columns(option: str, file: Path, names: tuple[str, ...]) -> list[Any]:
    """Return the named columns of a CSV file with a header, one row for each feature, or the named arrays of an .npz file.

    A CSV file without a header has these columns alone. The first other column whose cells are no numbers has the names of the
    features. Raises SettingError, with the remedy, for a file that cannot be read or has no such columns of numbers.
    """
    try:
        return _read_npz(option, file, names) if file.suffix.lower() == ".npz" else _read_csv(option, file, names)
    except OSError as error:
        raise SettingError(f"{option} {file} cannot be read ({error.strerror or error}): check the path") from error


def _read_csv(option: str, file: Path, names: tuple[str, ...]) -> list[Any]:
    columns = " and ".join(names)
    try:
        text = read_text(file, MAX_BYTES, follow_links=True)
        rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise SettingError(f"{option} {file} must be a CSV file, got one that cannot be read: save it as text") from error
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if all(name in header for name in names):
        places, rows = [header.index(name) for name in names], rows[1:]
    elif len(header) == len(names) and all(map(_is_number, header)):
        places = [*range(len(names))]
    else:
        raise SettingError(
            f"{option} {file} must have the columns {columns}, got {', '.join(header) or 'none'}: name them in a header"
        )
    found: list[list[float]] = [[] for _ in names]
    for number, row in enumerate(rows, 1):
        for place, column, name in zip(places, found, names, strict=True):
            cell = row[place].strip() if place < len(row) else ""
            if not _is_number(cell):
                raise SettingError(
                    f"{option} {file} must have a number under {name} in each row, got {cell!r} in row {number}: fix it"
                )
            column.append(float(cell))
    texts = (cells for cells in zip(*rows, strict=False) if not any(map(_is_number, cells)))
    features = tuple(cell.strip() for cell in next(texts, ()))
    made = [FeatureColumn(column) for column in found]
    for one in made:
        one.option, one.features = f"{option} {file}", features
    return made


def check_feature_order(column: FeatureColumn, features: Sequence[str]) -> None:
    """Raise SettingError if a column's names of features are those of the data in another order; other names are not compared.

    Args:
        column: numbers of a file.
        features: names of the features of the data, in their order.
    """
    named, known = ([name.strip().lower() for name in names] for names in (column.features, features))
    if {*named} & {*known} and named != known:
        row, (got, expected) = next(
            (row, pair) for row, pair in enumerate(zip_longest(named, known, fillvalue="nothing"), 1) if pair[0] != pair[1]
        )
        raise SettingError(
            f"{column.option} must have its rows in the order of the data's columns, got {got} in row {row}: put {expected} there"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_npz(option: str, file: Path, names: tuple[str, ...]) -> list[Any]:
    from robustbench_fgsm.files.array_files import open_npz

    try:
        with open_npz(file, follow_links=True) as arrays:
            missing = [name for name in names if name not in arrays]
            if missing:
                have = ", ".join(arrays.shapes) or "nothing"
                raise SettingError(f"{option} {file} must hold the arrays {' and '.join(names)}, got {have}: save them by name")
            if any(math.prod(arrays.header(name).shape) > MAX_VALUES for name in names):
                raise SettingError(
                    f"{option} {file} must hold one number for each feature, got more than {MAX_VALUES:,}: save fewer"
                )
            return [arrays.read(name).tolist() for name in names]
    except SettingError:
        raise
    except ValueError as error:
        raise SettingError(
            f"{option} {file} must hold plain arrays, got one that cannot be read: save it with numpy.savez"
        ) from error
