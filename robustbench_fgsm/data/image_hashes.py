"""Hashes of single images, by which a run notices that an image is not the one that was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

UNREAD_HASH = 0
"""Hash of a sample of which no byte can be read."""


def hash_sample(image: Any, label: object) -> int:
    """Return the 64-bit hash (XXH3, as a signed integer) of an image and its label.

    image: the bytes of its file, a Pillow image, a tensor or an array. This hash is fast, and no protection against forgery.
    """
    digest = xxhash.xxh3_64(repr(label).encode())
    if isinstance(image, bytes):
        digest.update(image)
        return _signed(digest)
    if isinstance(image, Image):
        digest.update(f"{image.mode} {image.getpalette()}".encode())
    if not isinstance(image, Tensor):
        try:
            image = np.asarray(image)
        except (ValueError, TypeError):  # no image: it is counted as unreadable
            return UNREAD_HASH
        if image.dtype.hasobject:
            return UNREAD_HASH
        digest.update(f"{image.dtype} {image.shape}".encode())
        digest.update(np.ascontiguousarray(image).tobytes())
    else:
        digest.update(_kind(image))
        digest.update(_bytes(image.unsqueeze(0))[0].data)
    return _signed(digest)


def hash_pixels(images: Tensor) -> Tensor:
    """Return the hashes (N,) int64 of images (N, ...), by their pixels."""
    if not len(images):
        return torch.empty(0, dtype=torch.int64)
    begun = xxhash.xxh3_64(_kind(images[0]))

    def hash_row(row: NDArray[np.uint8]) -> int:
        digest = begun.copy()
        digest.update(row.data)
        return digest.intdigest()

    return torch.from_numpy(np.array(list(map(hash_row, _bytes(images))), np.uint64).view(np.int64))


def _kind(image: Tensor) -> bytes:
    return f"{image.dtype} {tuple(image.shape)}".encode()


def _bytes(images: Tensor) -> NDArray[np.uint8]:
    """Return the bytes (N, B) of images (N, ...)."""
    return images.detach().cpu().contiguous().reshape(len(images), -1).view(torch.uint8).numpy()


def _signed(digest: xxhash.xxh3_64) -> int:
    return int(np.uint64(digest.intdigest()).astype(np.int64))
