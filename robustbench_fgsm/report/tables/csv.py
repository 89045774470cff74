"""Tables as CSV, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from robustbench_fgsm.printable_text import escape_formula
from robustbench_fgsm.report.tables.sheet import Cell, Sheet, Summary

CsvRow = list[tuple[str, object]]
"""Column and cell; a list, because two columns may have one name."""


def summary_csv_files(summary: Summary) -> dict[str, str]:
    """Return the CSV text of each sheet by file name; the second sheet of one name gets the number 2."""
    files: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for sheet in summary.sheets:
        seen[sheet.name] += 1
        number = f"_{seen[sheet.name]}" if seen[sheet.name] > 1 else ""
        files[f"{sheet.name}{number}.csv"] = sheet_to_csv(sheet)
    return files


def summary_to_single_csv(summary: Summary) -> str:
    """Return the first sheet as CSV, or an empty text if there is none."""
    return next(map(sheet_to_csv, summary.sheets), "")


def sheet_to_csv(sheet: Sheet) -> str:
    """Return a sheet as CSV: a rate takes five columns, and text stands on one line."""
    header: CsvRow = []
    rows: list[CsvRow] = [[] for _ in sheet.rows]
    for index, column in enumerate(sheet.columns):
        name = " ".join(column.split()) or ("name" if index == 0 else f"column {index + 1}")
        is_rate = any(isinstance(row[index], dict) for row in sheet.rows)
        header += _csv_cells(name, None, is_rate=is_rate)
        for cells, row in zip(rows, sheet.rows, strict=True):
            cells.extend(_csv_cells(name, row[index], is_rate=is_rate))
    return _write(header, rows)


def _csv_cells(name: str, cell: Cell, *, is_rate: bool) -> CsvRow:
    if is_rate:
        return rate_cells(name, cell if isinstance(cell, dict) else None)
    return [(name, " ".join(cell.split()) if isinstance(cell, str) else cell)]


def csv_text(rows: Iterable[CsvRow]) -> str:
    """Return CSV text with a header; null is an empty cell, and text that would be a formula begins with an apostrophe."""
    rows = list(rows)
    return _write(rows[0], rows)


def _write(header: CsvRow, rows: Sequence[CsvRow]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([escape_formula(name) for name, _ in header])
    writer.writerows([escape_formula(value) for _, value in row] for row in rows)
    return stream.getvalue()


def rate_cells(name: str, rate: dict[str, Any] | None) -> CsvRow:
    """Return a rate as five cells; empty if there is no rate, or for a share without a count."""
    parts = ("value", "count", "n", "low", "high")
    return [(name if part == "value" else f"{name}_{part}", rate.get(part) if rate else None) for part in parts]
