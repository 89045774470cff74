"""Records and ledgers: what is written comes back, and what is damaged is known by its hash."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.pieces import PieceRecord
from robustbench_fgsm.errors import ResourceError
from robustbench_fgsm.runs.ledger import Ledger, LedgerStore, ledger_name
from robustbench_fgsm.runs.piece_format import decode_piece, encode_piece, scan_records
from robustbench_fgsm.stats.tally import BatchOutcomes


def drawn(number: int, n: int = 7, *, classes: int = 10, targeted: bool = False, gap: int = 0) -> PieceRecord:
    """A record of n images whose predictions are drawn; gap: between their ids."""
    random = np.random.default_rng(number)
    zero, nonfinite, saturated = random.random((3, n)) < 0.4
    after, after_stable = random.integers(classes, size=(2, n, 2))
    outcomes = BatchOutcomes(
        ids=np.arange(n, dtype=np.int64) * (gap + 1) + 1000 * number,
        labels=random.integers(classes, size=n),
        before=random.integers(classes, size=n),
        after=after,
        targets=random.integers(classes, size=n) if targeted else None,
        zero_gradient=zero,
        nonfinite_gradient=nonfinite,
        saturated=saturated,
        after_stable=np.where(saturated[:, np.newaxis], after_stable, after) if saturated.any() else None,
    )
    return PieceRecord(number, (outcomes, outcomes), (number, 0), (BadSample("a\n.png", "no"),), 0.5)


def same(one: PieceRecord, other: PieceRecord) -> bool:
    settings = [(record.number, record.decided_again, record.bad, record.seconds) for record in (one, other)]
    return settings[0] == settings[1] and all(
        np.array_equal(getattr(mine, name), getattr(theirs, name), equal_nan=False)
        for mine, theirs in zip(one.outcomes, other.outcomes, strict=True)
        for name in vars(mine)
    )


@pytest.mark.parametrize("classes", [10, 1000, 70_000])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("gap", [0, 3])
def test_a_record_comes_back(classes: int, targeted: bool, gap: int) -> None:
    record = drawn(3, 50, classes=classes, targeted=targeted, gap=gap)
    again = decode_piece(encode_piece(record))
    assert same(record, again)
    assert (record.outcomes[0].targets is None) == (again.outcomes[0].targets is None)


def test_a_piece_without_an_image_comes_back() -> None:
    record = PieceRecord(0, bad=(BadSample("a.png", "empty"),), seconds=0.1)
    assert same(record, decode_piece(encode_piece(record)))
    assert [number for number, _, _ in scan_records(encode_piece(record))] == [0]


def test_an_image_of_ten_classes_takes_four_bytes_and_a_record_a_line() -> None:
    whole = [len(encode_piece(PieceRecord(0, record.outcomes[:1], (0,)))) for record in (drawn(0, 1000), drawn(0, 2000))]
    stable = [int(drawn(0, n).outcomes[0].saturated.sum()) for n in (1000, 2000)]
    assert whole[1] - whole[0] - 2 * (stable[1] - stable[0]) - 1000 * 5 < 32


def test_every_flipped_bit_is_found_and_costs_one_record() -> None:
    records = [encode_piece(drawn(number, 3)) for number in range(3)]
    whole = b"".join(records)
    for byte in range(len(records[0]), len(records[0]) + len(records[1])):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[byte] ^= 1 << bit
            found = [number for number, _, _ in scan_records(bytes(flipped))]
            assert [number for number in found if number is not None] == [0, 2], (byte, bit)
            assert None in found


def test_a_cut_at_any_byte_costs_what_it_cuts() -> None:
    records = [encode_piece(drawn(number, 3)) for number in range(3)]
    whole = b"".join(records)
    ends = np.cumsum([len(record) for record in records])
    for length in range(len(whole)):
        found = [number for number, _, _ in scan_records(whole[:length]) if number is not None]
        assert found == list(range(int((ends <= length).sum())))


def test_what_is_appended_after_a_cut_is_found(tmp_path: Path) -> None:
    (tmp_path / ledger_name(0)).write_bytes(encode_piece(drawn(0)) + encode_piece(drawn(1))[:-9])
    store = LedgerStore(tmp_path, 3)
    assert (store.ledger.num_finished, store.ledger.damaged) == (1, 1)
    for number in (1, 2):
        store.keep(drawn(number))
    store.close()
    again = Ledger(tmp_path, 3)
    assert (again.num_finished, again.damaged) == (3, 1)
    assert all(same(drawn(number), record) for number, record in enumerate(again.records()))


def test_all_ledgers_are_read_and_each_piece_comes_once_in_order(tmp_path: Path) -> None:
    for rank, numbers in enumerate([(4, 1), (3,), (1, 0, 2)]):
        store = LedgerStore(tmp_path, 5, rank)
        for number in numbers:
            store.keep(drawn(number))
        store.close()
    assert [record.number for record in Ledger(tmp_path, 5).records()] == [0, 1, 2, 3, 4]
    assert [record.number for record in Ledger(tmp_path, 5).select_records(np.array([3, 0]))] == [3, 0]


def test_pieces_that_the_run_does_not_have_count_as_damage(tmp_path: Path) -> None:
    (tmp_path / ledger_name(0)).write_bytes(encode_piece(drawn(7)))
    assert (Ledger(tmp_path, 7).num_finished, Ledger(tmp_path, 7).damaged) == (0, 1)


def test_a_write_that_fails_half_way_leaves_the_ledger_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LedgerStore(tmp_path, 3)
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
