"""Test the division of a data set into pieces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustbench_fgsm.engine.dataset_pieces import PieceRecord, Pieces, piece_size
from robustbench_fgsm.engine.plan import Plan


@pytest.mark.parametrize(("n", "size"), [(0, 3), (1, 3), (9, 3), (10, 3)])
def test_pieces_cover_each_image_once(n: int, size: int) -> None:
    pieces = Pieces(n, size)
    assert [index for number in range(len(pieces)) for index in pieces.span(number)] == list(range(n))


def test_consecutive_ranges() -> None:
    ranges = Pieces(100, 5).consecutive_ranges(np.array([0, 1, 4, 6, 7]))
    assert list(ranges) == [range(2), range(4, 5), range(6, 8)]
    assert list(Pieces(100, 5).consecutive_ranges(np.array([], np.int64))) == []


def test_piece_size() -> None:
    assert piece_size(Plan(batch_size=16), torch.device("cpu")) == 16
    assert piece_size(Plan(batch_size=16), torch.device("cuda")) == 128


def test_a_record_without_images() -> None:
    record = PieceRecord(0)
    assert (len(record), len(record.ids), len(record.labels)) == (0, 0, 0)
