"""Encode a finished piece as bytes with their own hash: one line of JSON, then the columns as they lie in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.data.bad_sample import BadSample
from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.stats.audit import AuditCounts
from robustbench_fgsm.stats.tally import BatchOutcomes, Int64Array, IntArray

RECORD_PREFIX = b'{"sha256":"'
HASH_LENGTH = 64
FLAG_NAMES = ("zero_gradient", "nonfinite_gradient", "saturated")
"""Bits of a byte, the first one lowest."""

Array = NDArray[Any]


def encode_piece(record: PieceRecord, run: str) -> bytes:
    """Return the record as bytes of a ledger. A class takes one byte up to 256 classes; consecutive ids take none.

    run: identity of the run to which the record belongs.
    """
    columns = [(name, np.ascontiguousarray(column)) for name, column in _piece_columns(record)]
    head = {
        "piece": record.number,
        "run": run,
        "n": len(record),
        "attacks": len(record.outcomes),
        "first_id": _first_id(record),
        "decided_again": record.decided_again,
        "audits": [[audit.audited, audit.differing] for audit in record.audits],
        "bad": [asdict(sample) for sample in record.bad],
        "seconds": record.seconds,
        "columns": [[name, column.dtype.str, list(column.shape)] for name, column in columns],
        "bytes": sum(column.nbytes for _, column in columns),
    }
    rest = f'",{json.dumps(head, separators=(",", ":"))[1:]}\n'.encode()
    rest += b"".join(column.tobytes() for _, column in columns) + b"\n"
    return RECORD_PREFIX + hashlib.sha256(rest).hexdigest().encode() + rest


def read_head(content: bytes) -> dict[str, Any]:
    """Return the JSON object in the first line of a record; raise ValueError or RecursionError for other bytes."""
    found: dict[str, Any] = json.loads(content.partition(b"\n")[0])
    return found


def decode_piece(content: bytes) -> PieceRecord:
    """Return the record that `encode_piece` wrote; raise KeyError, TypeError or ValueError for other bytes."""
    line, _, payload = content.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    columns: dict[str, Int64Array] = {}
    at = 0
    for name, kind, shape in head["columns"]:
        dtype = np.dtype(kind)
        if dtype.kind not in "iu":
            raise ValueError(f"column {name} of {dtype}")
        size = dtype.itemsize * int(np.prod(shape))
        columns[name] = np.frombuffer(payload[at : at + size], dtype).reshape(shape).astype(np.int64)
        at += size
    if head["first_id"] is not None:
        columns["ids"] = np.arange(head["first_id"], head["first_id"] + head["n"], dtype=np.int64)
    return PieceRecord(
        head["piece"],
        tuple(_batch_outcomes(columns, attack) for attack in range(head["attacks"])),
        tuple(head["decided_again"]),
        tuple(BadSample(**sample) for sample in head["bad"]),
        head["seconds"],
        tuple(AuditCounts(*counts) for counts in head["audits"]),
        columns.get("hashes"),
    )


def scan_records(content: mmap | bytes) -> Iterator[tuple[int | None, int, int]]:
    """Yield number, start and stop of every whole record; the number is None for damaged bytes between records.

    A record that was cut, or in which a bit has flipped, is damaged. The next record is found by its prefix.
    """
    at = 0
    while at < len(content):
        found = _record_at(content, at)
        if found is not None:
            yield found[0], at, found[1]
            at = found[1]
            continue
        following = content.find(RECORD_PREFIX, at + 1)
        stop = len(content) if following < 0 else following
        yield None, at, stop
        at = stop


def _record_at(content: mmap | bytes, at: int) -> tuple[int, int] | None:
    """Return number and end of the record that begins there; None if none does, or its hash differs."""
    body = at + len(RECORD_PREFIX) + HASH_LENGTH
    line = content.find(b"\n", body)
    if content[at : at + len(RECORD_PREFIX)] != RECORD_PREFIX or line < 0:
        return None
    try:
        head = json.loads(content[at:line])
        number, size = head["piece"], head["bytes"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not (isinstance(number, int) and isinstance(size, int) and number >= 0 and size >= 0):
        return None
    stop = line + 1 + size + 1
    if hashlib.sha256(content[body:stop]).hexdigest().encode() != content[at + len(RECORD_PREFIX) : body]:
        return None
    return number, stop


def _first_id(record: PieceRecord) -> int | None:
    ids = record.ids
    return int(ids[0]) if len(ids) and bool((np.diff(ids) == 1).all()) else None


def _piece_columns(record: PieceRecord) -> Iterator[tuple[str, Array]]:
    if not len(record):
        return
    if _first_id(record) is None:
        yield "ids", record.ids.astype("<i8")
    yield "labels", to_smallest_dtype(record.labels)
    if record.hashes is not None:
        yield "hashes", record.hashes.astype("<i8")
    for attack, outcomes in enumerate(record.outcomes):
        yield f"before.{attack}", to_smallest_dtype(outcomes.before)
        yield f"after.{attack}", to_smallest_dtype(outcomes.after)
        if outcomes.targets is not None:
            yield f"targets.{attack}", to_smallest_dtype(outcomes.targets)
        flags = [getattr(outcomes, name).astype(np.uint8) << bit for bit, name in enumerate(FLAG_NAMES)]
        yield f"flags.{attack}", np.bitwise_or.reduce(flags)
        if outcomes.after_stable is not None and outcomes.saturated.any():
            yield f"stable.{attack}", to_smallest_dtype(outcomes.after_stable[outcomes.saturated])
        if outcomes.close is not None:
            yield f"close.{attack}", to_smallest_dtype(outcomes.close)
        if outcomes.distances is not None:
            yield f"distances.{attack}", to_smallest_dtype(outcomes.distances)
            if outcomes.distances_stable is not None and outcomes.saturated.any():
                yield f"stable_distances.{attack}", to_smallest_dtype(outcomes.distances_stable[outcomes.saturated])


def _batch_outcomes(columns: dict[str, Int64Array], attack: int) -> BatchOutcomes:
    flags: dict[str, Any] = {name: (columns[f"flags.{attack}"] >> bit & 1).astype(np.bool_) for bit, name in enumerate(FLAG_NAMES)}
    after, distances = columns[f"after.{attack}"], columns.get(f"distances.{attack}")

    def with_stable(column: Int64Array | None, name: str) -> Int64Array | None:
        """Return a copy of the column with the stored values of the saturated images; None if none are stored."""
        if column is None or (stable := columns.get(f"{name}.{attack}")) is None:
            return None
        column = column.copy()
        column[flags["saturated"]] = stable
        return column

    return BatchOutcomes(
        ids=columns["ids"],
        labels=columns["labels"],
        before=columns[f"before.{attack}"],
        after=after,
        targets=columns.get(f"targets.{attack}"),
        **flags,
        after_stable=with_stable(after, "stable"),
        distances=distances,
        distances_stable=with_stable(distances, "stable_distances"),
        close=columns.get(f"close.{attack}"),
    )


def to_smallest_dtype(classes: IntArray) -> IntArray:
    """Return the classes in the smallest little-endian type that holds them; a signed one if an image has no class."""
    smallest, largest = (int(classes.min()), int(classes.max())) if classes.size else (0, 0)
    if smallest < 0:
        return classes.astype("<i4")
    kind = "u1" if largest < 2**8 else "<u2" if largest < 2**16 else "<u4" if largest < 2**32 else "<i8"
    return classes.astype(kind)
