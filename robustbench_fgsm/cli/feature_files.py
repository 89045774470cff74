"""Options whose value is a few numbers or a file with numbers for each feature: `--bounds` and `--eps-scale`; NumPy loads late."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.feature_values import MAX_VALUES
from robustbench_fgsm.files.regular_files import read_text
from robustbench_fgsm.spec import Bounds, check_bounds

SUFFIXES = (".csv", ".npz")
MAX_BYTES = 64 * MAX_VALUES
"""Size above which a file cannot hold one setting."""


def parse_bounds(text: str) -> Bounds:
    """Return the bounds of `LOW,HIGH`, of such pairs with semicolons between, or of a file with `low` and `high` of each feature.

    Raises SettingError for other text, for a file that cannot be read, and as `check_bounds` does.
    """
    if _is_file(text):
        low, high = read_feature_columns("--bounds", Path(text), ("low", "high"))
        return check_bounds((low, high))
    remedy = "try 0,1, or a .csv file with the columns low and high"
    pairs = [_parse_list("--bounds", pair, remedy) for pair in text.split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise SettingError(f"--bounds must be LOW,HIGH, or such pairs with semicolons between, got {text!r:.60}: {remedy}")
    return check_bounds(pairs[0] if len(pairs) == 1 else tuple(zip(*pairs, strict=True)))


def parse_epsilon_scale(text: str) -> Any:
    """Return `range`, the numbers of a comma list, or those of a file with the column `scale`."""
    if text == "range":
        return text
    if _is_file(text):
        return read_feature_columns("--eps-scale", Path(text), ("scale",))[0]
    found = _parse_list("--eps-scale", text, "try range, or a .csv file with the column scale")
    return found[0] if len(found) == 1 else found


def _is_file(text: str) -> bool:
    return text.lower().endswith(SUFFIXES)


def _parse_list(option: str, text: str, remedy: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise SettingError(f"{option} must be numbers with commas between, got {text!r}: {remedy}") from None


def read_feature_columns(option: str, file: Path, names: tuple[str, ...]) -> list[Any]:
    """Return the named columns of a CSV file with a header, one row for each feature, or the named arrays of an .npz file.

    A CSV file without a header has these columns alone. Other columns, such as the names of the features, are not read. Raises
    SettingError, with the remedy, for a file that cannot be read or has no such columns of numbers.
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
    return [tuple(column) for column in found]


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
