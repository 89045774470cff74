"""Test that pieces count what one pass counts, and that stored pieces are not attacked again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.dataset_pieces import PieceRecord, Pieces
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS
from robustbench_fgsm.engine.plan import Plan, apply_plan
from robustbench_fgsm.engine.progress import ProgressReporter
from robustbench_fgsm.engine.run_pieces import attack_by_pieces, attack_dataset, batches_by_piece
from robustbench_fgsm.spec import AttackSpec, TargetRule

SPECS = [AttackSpec((0.01, 0.1)), AttackSpec((0.01, 0.1), target=TargetRule.parse("random"))]


class ListStore:
    """Store that keeps records in a list."""

    def __init__(self) -> None:
        self.kept: list[PieceRecord] = []

    def records(self) -> Iterator[PieceRecord]:
        return iter(sorted(self.kept, key=lambda record: record.number))

    def keep(self, record: PieceRecord) -> None:
        self.kept.append(record)


def test_pieces_count_like_one_pass(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    planned, report = apply_plan(classifier, Plan(batch_size=32)), ProgressReporter(len(images), SINGLE_PROCESS)
    whole = attack_dataset(planned, images, SPECS, report)
    store = ListStore()
    first = attack_by_pieces(planned, images, SPECS, store, SINGLE_PROCESS, report)
    numbers = [record.number for record in store.kept]
    store.kept = store.kept[::2]
    again = attack_by_pieces(planned, images, SPECS, store, SINGLE_PROCESS, report)
    assert sorted(record.number for record in store.kept) == numbers == list(range(8))
    assert again.resumed_seconds > first.resumed_seconds == 0
    for totals in zip(whole.totals, first.totals, again.totals, strict=True):
        for other in totals[1:]:
            np.testing.assert_equal([vars(tally) for tally in other.tallies], [vars(tally) for tally in totals[0].tallies])
            np.testing.assert_equal([vars(tally) for tally in other.stable], [vars(tally) for tally in totals[0].stable])
            assert other.first_fooled.tolist() == totals[0].first_fooled.tolist()


@pytest.mark.parametrize("copies", [1, 4])
def test_copies_of_images_are_said_with_what_they_do_to_intervals(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, copies: int
) -> None:
    (batch,) = images.batches(0, 20, 20)
    data = rf.ArrayDataset("copies", batch.images.repeat(copies, 1, 1, 1), batch.labels.repeat(copies), images.classes)
    planned, report = apply_plan(classifier, Plan(batch_size=8)), ProgressReporter(len(data), SINGLE_PROCESS)
    for result in (
        attack_dataset(planned, data, SPECS, report),
        attack_by_pieces(planned, data, SPECS, ListStore(), SINGLE_PROCESS, report),
    ):
        expected = "60 of 80 images repeat another image of their class: intervals take all as independent, and should be 2.0 times"
        assert [warning.startswith(expected) for warning in result.repeated.warnings] == [True] * (copies > 1)


class Ragged:
    """Data whose batches are smaller than they should be."""

    name, classes = "ragged", ("a", "b")

    def __len__(self) -> int:
        return 8

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        yield from (Batch(torch.rand(n, 1, 2, 2), torch.zeros(n, dtype=torch.int64), torch.arange(n)) for n in (3, 4))


def test_rejects_batches_of_a_wrong_size() -> None:
    pieces = batches_by_piece(Ragged(), Pieces(8, 4), range(2), 4, torch.device("cpu"))  # type: ignore[arg-type]
    with pytest.raises(rf.DataError, match="data must come in batches of 4 images, got one of 3 in ragged"):
        list(next(pieces)[1])
