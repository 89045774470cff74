"""Keep the finished pieces of a run in ledgers, one append-only file for each process."""

from __future__ import annotations

import mmap
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.files.atomic_files import sync_directory
from robustbench_fgsm.files.regular_files import append, is_directory, open_to_read, open_to_write, translate_os_errors
from robustbench_fgsm.runs.directory import read_manifest_json, settings_in_manifest
from robustbench_fgsm.runs.piece_format import decode_piece, encode_piece, scan_records
from robustbench_fgsm.runs.record_schema import RecordOrigin, RecordSchema
from robustbench_fgsm.stats.tally import Int64Array

LEDGER_PATTERN = re.compile(r"ledger-(\d{5})\.bin")
SYNC_INTERVAL = 1.0
"""Longest time in seconds whose work a power cut may lose; a killed process loses none."""


def ledger_name(rank: int) -> str:
    """Return the file name of the ledger of a rank."""
    return f"ledger-{rank:05d}.bin"


MAX_PIECES = 2**24
"""Pieces whose places take 0.3 GB of memory."""


class Ledger:
    """Index of the pieces in all ledgers of a run directory, read once when it is created.

    schema: what the records of the run hold. damaged: byte ranges that are not a whole record that fits the schema, because a
    write was cut or a bit has flipped. Raises ResourceError if a file cannot be read.
    """

    def __init__(self, directory: Path, schema: RecordSchema) -> None:
        self.schema, num_pieces = schema, len(schema.pieces)
        if num_pieces > MAX_PIECES:
            raise RunError(f"{directory} must hold at most {MAX_PIECES:,} pieces, got {num_pieces:,}: choose another directory")
        self.damaged = 0
        self._foreign: tuple[Path, RecordOrigin] | None = None
        self._files: list[Path] = []
        self._file = np.full(num_pieces, -1, np.int32)
        self._start = np.zeros(num_pieces, np.int64)
        self._stop = np.zeros(num_pieces, np.int64)
        with translate_os_errors(directory):
            names = sorted(file.name for file in directory.iterdir()) if is_directory(directory) else []
            for name in filter(LEDGER_PATTERN.fullmatch, names):
                self._files.append(directory / name)
                self._index_file(len(self._files) - 1)

    def _index_file(self, file: int) -> None:
        with _memory_mapped(self._files[file]) as content:
            for number, start, stop in scan_records(content):
                origin = "damaged" if number is None else self.schema.origin(content[start:stop])
                if number is None or origin != "own":
                    self.damaged += 1
                    if origin != "damaged":
                        self._foreign = self._foreign or (self._files[file], origin)
                elif self._file[number] < 0:
                    self._file[number], self._start[number], self._stop[number] = file, start, stop

    @classmethod
    def of_directory(cls, directory: Path) -> Ledger:
        """Return the pieces in a directory, of the run that its manifest describes; raise as `RecordSchema.from_settings`."""
        return cls(directory, RecordSchema.from_settings(settings_in_manifest(read_manifest_json(directory))))

    def check_origin(self) -> None:
        """Raise RunError if a record belongs to another run."""
        if self._foreign is not None:
            file, origin = self._foreign
            raise RunError(
                f"{file} must hold records of this run alone, got one of a run with other settings: move the file away, or choose "
                "another directory"
                if origin == "foreign"
                else f"{file} must hold records that name their run, got one of an older version: choose another directory"
            )

    @property
    def is_complete(self) -> bool:
        """Return True if all pieces are finished."""
        return self.num_finished == len(self._file)

    @property
    def finished_numbers(self) -> Int64Array:
        """Return the numbers of finished pieces, ascending."""
        return np.flatnonzero(self._file >= 0)

    @property
    def num_finished(self) -> int:
        """Number of pieces that are finished."""
        return int((self._file >= 0).sum())

    def records(self) -> Iterator[PieceRecord]:
        """Yield the finished pieces, each once, in ascending order of numbers."""
        return self.select_records(self.finished_numbers)

    def select_records(self, numbers: np.typing.NDArray[np.int64]) -> Iterator[PieceRecord]:
        """Yield the finished ones of these pieces, in the given order; raise RunError if a record belongs to another run."""
        self.check_origin()
        streams = [open_to_read(file) for file in self._files]
        try:
            for number in numbers:
                if self._file[number] >= 0:
                    stream = streams[self._file[number]]
                    stream.seek(self._start[number])
                    yield decode_piece(stream.read(self._stop[number] - self._start[number]))
        finally:
            for stream in streams:
                stream.close()


@contextmanager
def _memory_mapped(file: Path) -> Iterator[mmap.mmap | bytes]:
    with open_to_read(file) as stream:
        if not os.fstat(stream.fileno()).st_size:
            yield b""  # an empty file cannot be mapped
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content


class LedgerStore:
    """Store of pieces in the ledgers of a run directory: it reads all ledgers and writes one."""

    def __init__(self, directory: Path, schema: RecordSchema, rank: int = 0) -> None:
        self._directory, self._place = directory, directory / ledger_name(rank)
        self.ledger = Ledger(directory, schema)
        self.ledger.check_origin()
        self._descriptor: int | None = None
        self._synced = time.monotonic()

    def records(self) -> Iterator[PieceRecord]:
        """Yield the pieces that were finished when the store was created, in ascending order of numbers."""
        return self.ledger.records()

    def keep(self, record: PieceRecord) -> None:
        """Append the record in one write; raise ResourceError and restore the file if this fails."""
        with translate_os_errors(self._place):
            if self._descriptor is None:
                self._descriptor = open_to_write(self._place, append=True)
                sync_directory(self._directory)
            append(self._descriptor, encode_piece(record, self.ledger.schema.run))
            if time.monotonic() - self._synced > SYNC_INTERVAL:
                self._sync()

    def close(self) -> None:
        """Write all kept pieces to the disk, and close the file."""
        if self._descriptor is not None:
            with translate_os_errors(self._place):
                self._sync()
            os.close(self._descriptor)
            self._descriptor = None

    def _sync(self) -> None:
        if self._descriptor is not None:
            os.fsync(self._descriptor)
            self._synced = time.monotonic()
