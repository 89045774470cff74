"""A finished piece as bytes that carry their own hash: one line of JSON, then the columns as they lie in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.pieces import IntArray, PieceOutcomes, PieceRecord

RECORD_PREFIX = b'{"sha256":"'
HASH_LENGTH = 64
FLAG_NAMES = ("zero_gradient", "nonfinite_gradient", "saturated")
"""Bits of a byte, the first one lowest."""

Array = NDArray[Any]


def encode_piece(record: PieceRecord) -> bytes:
    """The record as it stands in a ledger; classes take one byte up to 256 of them, ids none where they are consecutive."""
    columns = [(name, np.ascontiguousarray(column)) for name, column in _piece_columns(record)]
    head = {
        "piece": record.number,
        "n": len(record),
        "attacks": len(record.outcomes_per_attack),
        "first_id": _first_id(record),
        "decided_again": [seen.decided_again for seen in record.outcomes_per_attack],
        "bad": [asdict(sample) for sample in record.bad],
        "seconds": record.seconds,
        "columns": [[name, column.dtype.str, list(column.shape)] for name, column in columns],
        "bytes": sum(column.nbytes for _, column in columns),
    }
    rest = f'",{json.dumps(head, separators=(",", ":"))[1:]}\n'.encode()
    rest += b"".join(column.tobytes() for _, column in columns) + b"\n"
    return RECORD_PREFIX + hashlib.sha256(rest).hexdigest().encode() + rest


def decode_piece(content: bytes) -> PieceRecord:
    """The inverse of `encode`; raises KeyError or ValueError for what it did not write."""
    line, _, payload = content.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    columns: dict[str, Array] = {}
    at = 0
    for name, kind, shape in head["columns"]:
        dtype = np.dtype(kind)
        size = dtype.itemsize * int(np.prod(shape))
        columns[name] = np.frombuffer(payload[at : at + size], dtype).reshape(shape)
        at += size
    first = head["first_id"]
    nothing = np.empty(0, np.int64)
    ids = np.arange(first, first + head["n"], dtype=np.int64) if first is not None else columns.get("ids", nothing)
    return PieceRecord(
        head["piece"],
        ids.astype(np.int64, copy=False),
        columns.get("labels", nothing),
        tuple(_piece_outcomes(columns, number, again) for number, again in enumerate(head["decided_again"])),
        tuple(BadSample(**sample) for sample in head["bad"]),
        head["seconds"],
    )


def scan_records(content: mmap | bytes) -> Iterator[tuple[int | None, int, int]]:
    """Number, start and stop of every whole record; a number of None for bytes between them that are none.

    A record that was cut, or in which a bit has flipped, is such bytes: those after it are found by how a record begins.
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
    """Number and end of the record that begins there; None where none does, or its hash is another."""
    body = at + len(RECORD_PREFIX) + HASH_LENGTH
    line = content.find(b"\n", body)
    if content[at : at + len(RECORD_PREFIX)] != RECORD_PREFIX or line < 0:
        return None
    try:
        head = json.loads(content[at:line])
        number, size = head["piece"], head["bytes"]
    except (ValueError, KeyError, TypeError):
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
    for number, seen in enumerate(record.outcomes_per_attack):
        yield f"before.{number}", to_smallest_dtype(seen.before)
        yield f"after.{number}", to_smallest_dtype(seen.after)
        if seen.targets is not None:
            yield f"targets.{number}", to_smallest_dtype(seen.targets)
        flags = [getattr(seen, name).astype(np.uint8) << bit for bit, name in enumerate(FLAG_NAMES)]
        yield f"flags.{number}", np.bitwise_or.reduce(flags)
        if len(seen.after_stable):
            yield f"stable.{number}", to_smallest_dtype(seen.after_stable)


def _piece_outcomes(columns: dict[str, Array], number: int, decided_again: int) -> PieceOutcomes:
    after = columns[f"after.{number}"]
    zero, nonfinite, saturated = ((columns[f"flags.{number}"] >> bit & 1).astype(np.bool_) for bit in range(len(FLAG_NAMES)))
    nothing = np.empty((0, after.shape[1]), after.dtype)
    return PieceOutcomes(
        columns[f"before.{number}"],
        after,
        columns.get(f"targets.{number}"),
        zero,
        nonfinite,
        saturated,
        columns.get(f"stable.{number}", nothing),
        decided_again,
    )


def to_smallest_dtype(classes: IntArray) -> IntArray:
    """The same classes in as few little-endian bytes as they need."""
    largest = int(classes.max()) if classes.size else 0
    kind = "u1" if largest < 2**8 else "<u2" if largest < 2**16 else "<u4"
    return classes.astype(kind)
