"""Export the outcome of each image as a row of CSV, JSON lines or Parquet, one piece at a time."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.files.atomic_files import atomic_replace
from robustbench_fgsm.files.regular_files import create_file
from robustbench_fgsm.printable_text import escape_formula, printable
from robustbench_fgsm.runs.read import SavedRun
from robustbench_fgsm.spec import NO_CLASS, AttackSpec
from robustbench_fgsm.stats.tally import BatchOutcomes

SampleColumns = dict[str, NDArray[Any]]
ROW_GROUP_SIZE = 65_536
"""Rows of a row group of a Parquet file."""


def sample_tables(run: SavedRun) -> Iterator[SampleColumns]:
    """Yield a table for each finished piece and attack, in order, with one row for each image.

    Columns: id, label, targeted (the rule), target (-1 if untargeted), before and `after_E` for each budget E (-1 if the outputs
    are not finite, so that there is no predicted class; of a multi-label run label, before and after are text, the numbers of the
    labels that are there), minimal_epsilon (the
    smallest budget of the list that fools the image; NaN if none does), zero_gradient, nonfinite_gradient, saturated.
    """
    for record in run.records():
        for spec, outcomes in zip(run.manifest.specs, record.outcomes, strict=False):
            yield sample_table(outcomes, spec)


def _column(predictions: NDArray[Any]) -> NDArray[Any]:
    """Return classes as they are, and multi-hot rows as text: the numbers of the labels that are there, or `none`.

    A row without a prediction is None.
    """
    if predictions.ndim == 1:
        return predictions
    sets = [None if (row < 0).any() else " ".join(map(str, np.flatnonzero(row))) or "none" for row in predictions]
    return np.array(sets, dtype=object)


def sample_table(outcomes: BatchOutcomes, spec: AttackSpec) -> SampleColumns:
    """Return the table of one piece and attack."""
    n = len(outcomes)
    return {
        "id": outcomes.ids,
        "label": _column(outcomes.labels),
        "targeted": np.full(n, str(spec.target)),
        "target": np.full(n, -1, np.int64) if outcomes.targets is None else outcomes.targets,
        "before": _column(outcomes.before),
        **{f"after_{epsilon!r}": _column(outcomes.after[:, place]) for place, epsilon in enumerate(spec.epsilons)},
        "minimal_epsilon": minimal_epsilons(outcomes.whole_images(), spec),
        "zero_gradient": outcomes.zero_gradient,
        "nonfinite_gradient": outcomes.nonfinite_gradient,
        "saturated": outcomes.saturated,
    }


def minimal_epsilons(outcomes: BatchOutcomes, spec: AttackSpec) -> NDArray[np.float64]:
    """Return the smallest budget of the list that fools each image (N,); NaN if none does."""
    found = np.full(len(outcomes), np.nan)
    for budget in np.argsort(spec.epsilons)[::-1]:
        found[outcomes.fooled(budget)] = spec.epsilons[budget]
    return found


def sample_rows(columns: SampleColumns) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table as JSON objects, with null for NaN, a missing prediction and a missing target."""
    for values in zip(*(column.tolist() for column in columns.values()), strict=True):
        row = dict(zip(columns, values, strict=True))
        if math.isnan(row["minimal_epsilon"]):
            row["minimal_epsilon"] = None
        for name in row:
            if name in ("target", "before") or name.startswith("after_"):
                row[name] = None if row[name] == NO_CLASS else row[name]
        yield row


def get_export_writer(file: Path) -> Callable[[SavedRun, Path], None]:
    """Return the writer for the suffix of the file; raise SettingError if there is none, or pyarrow is missing."""
    if file.suffix not in EXPORT_WRITERS:
        raise SettingError(f"--export takes {', '.join(EXPORT_WRITERS)}, got {file.name}: name a file that ends in one of these")
    if file.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise SettingError(
                f"--export {file.name} needs the package pyarrow, got none installed: pip install 'robustbench-fgsm[parquet]'"
            ) from error
    return EXPORT_WRITERS[file.suffix]


def export_samples(run: SavedRun, file: Path) -> None:
    """Write all rows of the run, completely or not at all; raise SettingError or ResourceError if this fails."""
    write = get_export_writer(file)
    with atomic_replace(file) as scratch:
        write(run, scratch)


def _write_csv(run: SavedRun, file: Path) -> None:
    with io.TextIOWrapper(create_file(file), newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for number, columns in enumerate(sample_tables(run)):
            if not number:
                writer.writerow(columns)
            writer.writerows(
                [
                    "" if cell is None else str(cell).lower() if isinstance(cell, bool) else _plain_text(cell)
                    for cell in row.values()
                ]
                for row in sample_rows(columns)
            )


def _plain_text(cell: Any) -> Any:
    return escape_formula(printable(cell)) if isinstance(cell, str) else cell


def _write_jsonl(run: SavedRun, file: Path) -> None:
    with io.TextIOWrapper(create_file(file), encoding="utf-8") as stream:
        for columns in sample_tables(run):
            stream.writelines(f"{json.dumps(row)}\n" for row in sample_rows(columns))


def _write_parquet(run: SavedRun, file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None
    waiting: list[Any] = []
    try:
        for columns in sample_tables(run):
            waiting.append(pa.table(_with_nulls(columns, pa)))
            writer = writer or pq.ParquetWriter(file, waiting[0].schema)
            if sum(map(len, waiting)) >= ROW_GROUP_SIZE:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if writer is None:
            pq.write_table(pa.table({}), file)
        elif waiting:
            writer.write_table(pa.concat_tables(waiting))
    finally:
        if writer is not None:
            writer.close()


def _with_nulls(columns: SampleColumns, pa: Any) -> dict[str, Any]:
    missing = {
        name: np.equal(column, np.array(None if column.dtype == object else NO_CLASS))
        for name, column in columns.items()
        if name in ("target", "before") or name.startswith("after_")
    }
    missing |= {"minimal_epsilon": np.isnan(columns["minimal_epsilon"])}
    return {name: pa.array(column, mask=missing.get(name)) for name, column in columns.items()}


EXPORT_WRITERS = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
