"""Training images of each step: a new permutation for each epoch, without the held-out images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_fgsm.data.content import READ_BLOCK_SIZE, hash_spans, whole_indices
from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset
from robustbench_fgsm.data.image_hashes import UNREAD_HASH
from robustbench_fgsm.data.limit import known_labels
from robustbench_fgsm.data.subset import RandomAccess
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World
from robustbench_fgsm.errors import DataError, SettingError
from robustbench_fgsm.training.recipe import TrainingRecipe

Indices = NDArray[np.int64]
HELD_OUT_STREAM, ORDER_STREAM = 0, 1
"""Streams of the random generator of one seed: which images are held out, and the order of each epoch."""


@dataclass(frozen=True)
class TrainingSamples:
    """Indices of training images and held-out images. An epoch of `static` sees each training image twice."""

    data: Dataset
    indices: Indices
    held_out_indices: Indices
    batch_size: int
    seed: int
    sees_images_twice: bool

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of full batches of an epoch, at least 1."""
        return max(1, len(self.indices) * (1 + self.sees_images_twice) // self.batch_size)

    def held_out_batch(self) -> Batch | None:
        """Return all held-out images as one batch, or None if no images are held out."""
        return None if not len(self.held_out_indices) else next(_take(self.data, self.held_out_indices, len(self.held_out_indices)))

    def warnings(self) -> list[str]:
        """Return what is wrong with the images as a sample: classes without an image, and held-out images that are trained on.

        All images are read once, if some are held out, to compare their hashes; those of files are not decoded.
        """
        found = []
        labels = known_labels(self.data)
        missing = [] if labels is None else sorted({*range(len(self.data.classes))} - set(labels[self.indices].tolist()))
        if missing:
            remedy = "if labels count from 1, pass --labels-from 1 (in Python, load_data(..., labels_from=1))"
            found.append(
                f"{len(missing):,} of {len(self.data.classes):,} classes have no training image, first "
                f"{self.data.classes[missing[0]]!r}: {remedy if missing[0] == 0 else 'add images of these classes'}"
            )
        if len(self.held_out_indices):
            everything = range(len(self.data))
            parts = hash_spans(self.data, [everything[at : at + READ_BLOCK_SIZE] for at in everything[::READ_BLOCK_SIZE]])
            hash_by_id = {id_: value for ids, hashes in parts for id_, value in zip(ids.tolist(), hashes.tolist(), strict=True)}
            hashes = [hash_by_id.get(id_, UNREAD_HASH) for id_ in whole_indices(self.data, everything)]
            trained = {hashes[index] for index in self.indices} - {UNREAD_HASH}
            if copies := sum(hashes[index] in trained for index in self.held_out_indices):
                found.append(
                    f"{copies:,} of {len(self.held_out_indices):,} held-out images equal a training image, so the accuracy of the "
                    "checks is too high: remove the copies"
                )
        return found

    def epoch_batches(
        self, epoch_index: int, first_step: int, bad: set[BadSample], world: World = SINGLE_PROCESS
    ) -> Iterator[tuple[Batch, torch.Tensor]]:
        """Yield this process's part of each batch of an epoch, and a mask (N,) of images that the epoch sees the second time.

        Unreadable samples are left out and added to `bad`.
        """
        count = len(self.indices)
        order = np.random.default_rng([self.seed, ORDER_STREAM, epoch_index]).permutation(count * (1 + self.sees_images_twice))
        parts = [
            world.local_part(order[step * self.batch_size : (step + 1) * self.batch_size])
            for step in range(first_step, self.steps_per_epoch)
        ]
        if not parts:
            return
        batches = _take(self.data, self.indices[np.concatenate(parts) % count], len(parts[0]))
        for rows, batch in zip(parts, batches, strict=True):
            bad.update(batch.bad)
            second = torch.from_numpy(rows >= count)
            yield batch, second if len(second) == len(batch) else _second_pass_of(batch, second, self.indices[rows % count])


def _second_pass_of(batch: Batch, second_pass: torch.Tensor, ids: Indices) -> torch.Tensor:
    """Return the second-pass mask (N,) of the readable samples of a batch."""
    known = dict(zip(ids.tolist(), second_pass.tolist(), strict=True))
    return torch.tensor([known.get(int(id_), False) for id_ in batch.ids], dtype=torch.bool)


def split_held_out(data: Dataset, recipe: TrainingRecipe) -> TrainingSamples:
    """Split the data into training images and held-out images, drawn with the recipe's seed.

    Raises:
        DataError: if the data have no random access.
        SettingError: if fewer than two training images are left.
    """
    if not isinstance(data, RandomAccess):
        raise DataError(
            f"training needs images in any order, got {data.name}, which is read from its start: save it as files or arrays"
        )
    order = np.random.default_rng([recipe.seed, HELD_OUT_STREAM]).permutation(len(data))
    held, indices = np.sort(order[: recipe.held_out]), np.sort(order[recipe.held_out :])
    if len(indices) < 2:
        raise SettingError(
            f"training needs images beside the {recipe.held_out} held out, got {len(data)} in {data.name}: try --held-out 0"
        )
    return TrainingSamples(data, indices, held, recipe.batch_size, recipe.seed, recipe.method == "static")


def _take(data: Dataset, indices: Indices, size: int) -> Iterator[Batch]:
    assert isinstance(data, RandomAccess)  # noqa: S101  (`split_held_out` checks it)
    return data.take(indices.tolist(), size)
