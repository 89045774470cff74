"""Test the counts of a transfer by hand."""

from __future__ import annotations

import numpy as np
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS
from robustbench_fgsm.evaluation.transfer_counts import TransferCounts, TransferModels
from robustbench_fgsm.stats.tally import BatchOutcomes

LABELS = np.array([0, 1, 0])


def models() -> TransferModels:
    first, second = (rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 2) for _ in range(2))
    return TransferModels((first, second), (0,), (0, 1))


def outcomes(before: list[int], after: list[int]) -> BatchOutcomes:
    never = np.zeros(3, np.bool_)
    return BatchOutcomes(np.arange(3), LABELS, np.array(before), np.array(after)[:, np.newaxis], None, never, ~never, never)


def test_models_of_a_source() -> None:
    assert models().evaluated_on(0) == (0, 1)


def test_counts_by_hand() -> None:
    # source: right on all, fooled on the first two; target: wrong on the last image, fooled on the first
    record = PieceRecord(0, (outcomes([0, 1, 0], [1, 0, 0]), outcomes([0, 1, 1], [1, 1, 1])), (0, 0))
    counts = TransferCounts.empty(models(), 1)
    counts.add(record, models())
    assert counts.images.tolist() == [2, 1]
    assert counts.clean_correct.tolist() == [[2, 1], [1, 1]]
    assert counts.attacked[0].tolist() == [[2, 1], [1, 1]]
    assert counts.fooled[0, :, 0].tolist() == [[1, 1], [1, 0]]
    assert counts.robust_correct[0, :, 0].tolist() == [[1, 0], [0, 1]]
    assert counts.common_attacked.tolist() == [[1, 1]]
    assert counts.common_fooled[0, :, 0].tolist() == [[1, 1], [1, 0]]
    assert counts.nonfinite_gradient.tolist() == [3]
    np.testing.assert_equal(vars(counts.sum_over_processes(SINGLE_PROCESS)), vars(counts))


def test_a_piece_without_images_counts_zero() -> None:
    counts = TransferCounts.empty(models(), 1)
    counts.add(PieceRecord(0), models())
    assert not counts.images.any()
