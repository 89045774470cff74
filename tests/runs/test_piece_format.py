"""Test the bytes of a finished piece."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.runs.piece_format import decode_piece, encode_piece, scan_records
from tests.runs.piece_records import RUN, drawn, same


@pytest.mark.parametrize("classes", [10, 1000, 70_000])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("gap", [0, 3])
def test_decodes_an_encoded_piece(classes: int, targeted: bool, gap: int) -> None:
    record = drawn(3, 50, classes=classes, targeted=targeted, gap=gap)
    again = decode_piece(encode_piece(record, RUN))
    assert same(record, again)
    assert (record.outcomes[0].targets is None) == (again.outcomes[0].targets is None)


def test_decodes_distances() -> None:
    record = drawn(3, 50, measured=True)
    again = decode_piece(encode_piece(record, RUN))
    assert same(record, again)
    assert again.outcomes[0].distances is not None
    size = len(encode_piece(record, RUN)) - len(encode_piece(drawn(3, 50), RUN))
    assert size < 500 + 2 * 2 * 2 * 50  # two bytes an image


def test_decodes_a_piece_without_images() -> None:
    record = PieceRecord(0, bad=(BadSample("a.png", "empty"),), seconds=0.1)
    assert same(record, decode_piece(encode_piece(record, RUN)))
    assert [number for number, _, _ in scan_records(encode_piece(record, RUN))] == [0]


def test_size_of_an_image_record() -> None:
    whole = [len(encode_piece(PieceRecord(0, record.outcomes[:1], (0,)), RUN)) for record in (drawn(0, 1000), drawn(0, 2000))]
    stable = [int(drawn(0, n).outcomes[0].saturated.sum()) for n in (1000, 2000)]
    assert whole[1] - whole[0] - 2 * (stable[1] - stable[0]) - 1000 * 5 < 32


def test_flipped_bit_costs_one_record() -> None:
    records = [encode_piece(drawn(number, 3), RUN) for number in range(3)]
    whole = b"".join(records)
    for byte in range(len(records[0]), len(records[0]) + len(records[1])):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[byte] ^= 1 << bit
            found = [number for number, _, _ in scan_records(bytes(flipped))]
            assert [number for number in found if number is not None] == [0, 2], (byte, bit)
            assert None in found


def test_a_cut_costs_only_cut_records() -> None:
    records = [encode_piece(drawn(number, 3), RUN) for number in range(3)]
    whole = b"".join(records)
    ends = np.cumsum([len(record) for record in records])
    for length in range(len(whole)):
        found = [number for number, _, _ in scan_records(whole[:length]) if number is not None]
        assert found == list(range(int((ends <= length).sum())))


def test_bytes_of_a_small_record() -> None:
    line, _, payload = encode_piece(drawn(0, 3), RUN).partition(b"\n")
    assert line.startswith(b'{"sha256":"')
    assert b'"piece":0,"run":"' + RUN.encode() + b'","n":3,"attacks":2,"first_id":0,"decided_again":[0,0]' in line
    assert (
        b'"columns":[["labels","|u1",[3]],["hashes","<i8",[3]],["before.0","|u1",[3]],["after.0","|u1",[3,2]],["flags.0","|u1",[3]]'
        in line
    )
    assert payload.endswith(b"\n")
