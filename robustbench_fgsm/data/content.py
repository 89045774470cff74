"""Read images again only to hash them: of pieces that were measured, or of all data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.image_hashes import UNREAD_HASH, hash_pixels
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.subset import IdSubset, Subset, whole_dataset
from robustbench_fgsm.stats.repeated_images import RepeatedImages

READ_BLOCK_SIZE = 1024
"""Images that are hashed at a time."""

CONTENT_BLOCKS = 32
"""Hashes by which a run without ledgers knows its images, and names the changed ones."""

SpanHashes = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Ids and hashes of the samples of one span; of an `ImageDataset`, also of unreadable samples."""


def fingerprint_covers_images(data: Dataset) -> bool:
    """Return True if the fingerprint of the data covers every byte of every image."""
    return isinstance(whole_dataset(data), ArrayDataset | IdSubset)


def hash_spans(data: Dataset, spans: Sequence[range]) -> Iterator[SpanHashes]:
    """Yield ids and hashes of the samples of each span of indices, in the order of the data."""
    whole = whole_dataset(data)
    if isinstance(whole, ImageDataset):
        blocks: list[Sequence[int]] = [whole_indices(data, span) for span in spans]
        for block, found in zip(blocks, whole.hash_blocks(blocks), strict=True):
            yield np.asarray(block, np.int64), np.asarray(found, np.int64)
        return
    for span in spans:
        parts: list[SpanHashes] = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for batch in data.batches(span.start, span.stop, READ_BLOCK_SIZE):
            hashes = hash_pixels(batch.images) if batch.hashes is None else batch.hashes
            parts.append((batch.ids.numpy(), hashes.numpy()))
        ids, hashed = zip(*parts, strict=True)
        yield np.concatenate(ids), np.concatenate(hashed)


def whole_indices(data: Dataset, span: range) -> Sequence[int]:
    """Return the indices in the whole data set of the images at these indices of the data."""
    indices: Sequence[int] = span
    while isinstance(data, Subset):
        indices, data = [data.indices[index] for index in indices], data.dataset
    return indices


def describe_content(data: Dataset) -> dict[str, Any]:
    """Return hashes of all images as `content_hash`, by which a run notices other images; nothing if the fingerprint suffices.

    There is one hash for each of at most 32 blocks, by the indices of its first and last image. All images are read, but those of
    files are not decoded.
    """
    return {} if fingerprint_covers_images(data) else hash_content(data)[0]


def hash_content(data: Dataset) -> tuple[dict[str, Any], RepeatedImages]:
    """Return what `describe_content` returns, and the repeated images; their labels count in the hashes of files alone."""
    size = -(-len(data) // CONTENT_BLOCKS)
    blocks = {f"{start}-{min(start + size, len(data)) - 1}": xxhash.xxh3_64() for start in range(0, len(data), size)}
    spans = [
        range(at, min(at + READ_BLOCK_SIZE, start + size, len(data)))
        for start in range(0, len(data), size)
        for at in range(start, min(start + size, len(data)), READ_BLOCK_SIZE)
    ]
    digests, images = list(blocks.values()), []
    for span, (ids, hashes) in zip(spans, hash_spans(data, spans), strict=True):
        digests[span.start // size].update(ids.tobytes() + hashes.tobytes())
        read = hashes[hashes != UNREAD_HASH]
        images.append((np.zeros_like(read), read))
    content = {"content_hash": {name: digest.hexdigest() for name, digest in blocks.items()}}
    return {} if fingerprint_covers_images(data) else content, RepeatedImages.of(images)


def image_path(data: Dataset, image_id: int) -> str:
    """Return the location of an image, or its id if it has no location."""
    whole = whole_dataset(data)
    return whole.path(image_id) if isinstance(whole, ImageDataset) else f"image {image_id}"
