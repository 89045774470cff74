"""Test ledgers: what is written is read again, and damage is found."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustbench_fgsm.errors import ResourceError, RunError
from robustbench_fgsm.runs.ledger import Ledger, LedgerStore, ledger_name
from robustbench_fgsm.runs.piece_format import encode_piece
from tests.runs.piece_records import RUN, drawn, same, schema


def test_finds_records_after_a_cut(tmp_path: Path) -> None:
    (tmp_path / ledger_name(0)).write_bytes(encode_piece(drawn(0), RUN) + encode_piece(drawn(1), RUN)[:-9])
    store = LedgerStore(tmp_path, schema(3))
    assert (store.ledger.num_finished, store.ledger.damaged) == (1, 1)
    for number in (1, 2):
        store.keep(drawn(number))
    store.close()
    again = Ledger(tmp_path, schema(3))
    assert (again.num_finished, again.damaged) == (3, 1)
    assert all(same(drawn(number), record) for number, record in enumerate(again.records()))


def test_reads_all_ledgers_in_order(tmp_path: Path) -> None:
    for rank, numbers in enumerate([(4, 1), (3,), (1, 0, 2)]):
        store = LedgerStore(tmp_path, schema(5), rank)
        for number in numbers:
            store.keep(drawn(number))
        store.close()
    assert [record.number for record in Ledger(tmp_path, schema(5)).records()] == [0, 1, 2, 3, 4]
    assert [record.number for record in Ledger(tmp_path, schema(5)).select_records(np.array([3, 0]))] == [3, 0]


def test_unknown_pieces_count_as_damage(tmp_path: Path) -> None:
    (tmp_path / ledger_name(0)).write_bytes(encode_piece(drawn(7), RUN))
    assert (Ledger(tmp_path, schema(7)).num_finished, Ledger(tmp_path, schema(7)).damaged) == (0, 1)


def test_failed_write_restores_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LedgerStore(tmp_path, schema(3))
    store.keep(drawn(0))
    before = (tmp_path / ledger_name(0)).read_bytes()
    real = os.write

    def half(descriptor: int, content: bytes) -> int:
        if len(content) < 200:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content[: len(content) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(ResourceError, match=r"ledger-00000\.bin must be writable, got No space left on device"):
        store.keep(drawn(1))
    monkeypatch.undo()
    store.close()
    assert (tmp_path / ledger_name(0)).read_bytes() == before


def test_pieces_that_a_manifest_claims_take_no_memory(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"must hold at most 16,777,216 pieces, got 536,870,912: choose another directory"):
        Ledger(tmp_path, replace(schema(3), pieces=range(2**29)))  # type: ignore[arg-type]
