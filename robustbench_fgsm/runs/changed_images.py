"""Check that the images of a run are still those that its ledgers record, before a piece counts or a result is returned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from robustbench_fgsm.data.content import SpanHashes, fingerprint_covers_images, hash_spans, image_path, whole_indices
from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.subset import whole_dataset
from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.runs.directory import RunDirectory
from robustbench_fgsm.runs.ledger import Ledger, LedgerStore
from robustbench_fgsm.runs.record_schema import RecordSchema

NAMED_IMAGES = 3
"""Changed images that an error names."""


def is_complete_and_unchanged(directory: RunDirectory, data: Dataset) -> bool:
    """Return True if the ledgers of a finished run hold all its pieces; raise RunError as `check_images_unchanged` does."""
    assert directory.path is not None  # noqa: S101  (a finished run has a directory)
    ledger = Ledger(directory.path, RecordSchema.from_settings(directory.settings))
    check_images_unchanged(ledger, data)
    return ledger.is_complete


def open_store_of_pieces(directory: RunDirectory, data: Dataset) -> LedgerStore | None:
    """Return the store of a run's pieces, whose images are checked in the main process; None if there is no directory."""
    if directory.path is None:
        return None
    store = LedgerStore(directory.path, RecordSchema.from_settings(directory.settings), directory.world.rank)
    if directory.world.is_main:
        check_images_unchanged(store.ledger, data)
    return store


def check_images_unchanged(ledger: Ledger, data: Dataset) -> None:
    """Raise RunError unless the images of all finished pieces are those that were measured, with their ids and labels.

    Images are read and hashed again, unless the fingerprint of the data covers every byte. They are not decoded if they are files.
    """
    spans = [ledger.schema.pieces.span(int(number)) for number in ledger.finished_numbers]
    _check_ids_and_labels(ledger, data)
    if fingerprint_covers_images(data):
        return
    changed = [
        image_path(data, image)
        for record, found in zip(ledger.records(), hash_spans(data, spans), strict=True)
        for image in _changed_ids(record, found)
    ]
    if changed:
        named = ", ".join(changed[:NAMED_IMAGES])
        raise RunError(
            f"images must be those that the run measured, got {len(changed):,} other or changed "
            f"{'image' if len(changed) == 1 else 'images'}, first {named}: put them back, or choose another directory"
        )


def _changed_ids(record: PieceRecord, found: SpanHashes) -> Iterator[int]:
    """Yield ids of images whose hash differs, and of unreadable samples if these have other hashes than before."""
    before = dict(zip(record.ids.tolist(), [] if record.hashes is None else record.hashes.tolist(), strict=True))
    now = dict(zip(*(column.tolist() for column in found), strict=True))
    yield from (image for image, hashed in before.items() if now.get(image) != hashed)
    unreadable = Counter(sample.hash for sample in record.bad)
    for image, hashed in now.items():
        if image not in before:
            unreadable[hashed] -= 1
            if unreadable[hashed] < 0:
                yield image


def _check_ids_and_labels(ledger: Ledger, data: Dataset) -> None:
    whole = whole_dataset(data)
    if not isinstance(whole, ArrayDataset | ImageDataset):
        return
    labels = whole.labels.numpy() if isinstance(whole, ArrayDataset) or whole.knows_labels else None
    for record in ledger.records():
        known = np.isin(record.ids, whole_indices(data, ledger.schema.pieces.span(record.number))).all()
        if not known or (labels is not None and not np.array_equal(labels[record.ids], record.labels)):
            raise RunError(
                f"records of the run must have the ids and labels of {data.name}, got others in piece {record.number}: "
                "choose another directory"
            )
