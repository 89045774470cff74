"""Adversarial images that a user saved, in place of an attack that runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.quantization import levels_to_pixels
from robustbench_fgsm.data.dataset import Dataset, first_readable_batch
from robustbench_fgsm.data.subset import IdSubset
from robustbench_fgsm.errors import DataError, RfgsmError, UnsafeError, describe_error
from robustbench_fgsm.files.array_files import open_npz, read_safetensors
from robustbench_fgsm.files.regular_files import hash_file, is_directory
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds

IMAGE_KEYS = ("images", "x_adv", "adversarial")
SAVED_IMAGE_SUFFIXES = (".npz", ".safetensors")
PICKLE_SUFFIXES = (".pt", ".pth", ".pkl", ".pickle")
"""Files that a user may pass as saved images; they are refused and not opened."""

SHARD_PATTERN = "adversarial-*"
"""Files of a directory that `rfgsm attack` made."""

NamedArrays = Mapping[str, Any]


@dataclass(frozen=True)
class SavedImages:
    """Adversarial images (N, C, H, W), float32 in pixel space, and their int64 ids (N,); None if they are the first N images."""

    name: str
    images: Tensor
    ids: Tensor | None
    sha256: str

    def __len__(self) -> int:
        return len(self.images)

    def by_ids(self, ids: Tensor) -> Tensor:
        """Return the images with these ids (M,), in that order."""
        assert self.ids is not None, "ids are known once the images have been matched with data"  # noqa: S101
        order = torch.argsort(self.ids)
        return self.images[order[torch.searchsorted(self.ids[order], ids)]]


def is_saved_images(path: str | Path) -> bool:
    """Return True if the path names saved images rather than code: by its suffix, or because it is a directory."""
    return Path(path).suffix.lower() in (*SAVED_IMAGE_SUFFIXES, *PICKLE_SUFFIXES, ".npy") or is_directory(Path(path))


def load_saved_images(path: Path, shape: tuple[int, ...], bounds: Bounds = PIXEL_BOUNDS) -> SavedImages:
    """Return adversarial images of an .npz or .safetensors file, or of a directory that `rfgsm attack` made.

    The images are stored as `images`, `x_adv` or `adversarial`: floating point in the units of the data or uint8, as (N, C, H, W),
    (N, H, W, C), or (N, H, W) if they are grey. shape: that of a clean image, which distinguishes the layouts. bounds: range
    into which uint8 images are put. `ids`, if present, identify the images. Raises UnsafeError if the file holds pickled objects;
    DataError if the file holds no images that fit.
    """
    files = (
        sorted(file for file in path.glob(SHARD_PATTERN) if file.suffix in SAVED_IMAGE_SUFFIXES) if is_directory(path) else [path]
    )
    if not files:
        raise DataError(f"saved images must be {SHARD_PATTERN} files in that directory, got none in {path}: name an .npz file")
    parts = [_read_file(file, shape, bounds) for file in files]
    ids = [part.ids for part in parts if part.ids is not None]
    if len(parts) > 1 and len(ids) != len(parts):
        raise DataError(f"several files of saved images must say their ids, got {path} without: save one file")
    found = SavedImages(
        path.name,
        torch.cat([part.images for part in parts]),
        torch.cat(ids) if ids else None,
        hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest() if len(parts) > 1 else parts[0].sha256,
    )
    if found.ids is not None and len(set(found.ids.tolist())) != len(found.ids):
        raise DataError(f"saved images must have ids that are all different, got {path} with repeated ones")
    return found


def match_to_data(saved: SavedImages, data: Dataset) -> tuple[SavedImages, Dataset, list[str]]:
    """Return the saved images with their ids, the matching data, and a warning if these are not all data.

    Raises DataError if there are more images than data without ids, or the data have none of the ids.
    """
    if saved.ids is not None:
        covered: Dataset = IdSubset(data, saved.ids)
    elif len(saved) > len(data):
        raise DataError(
            f"saved images must be those of the {len(data):,} images in order, got {len(saved):,} in {saved.name}: "
            "compare with as many, or save their ids"
        )
    else:
        first = torch.cat([batch.ids for batch in data.batches(0, len(saved), 1024)])
        if len(first) < len(saved):
            missing = len(saved) - len(first)
            raise DataError(f"saved images must say their ids where {missing} of {data.name} cannot be read: save their ids")
        saved = replace(saved, ids=first)
        covered = data if len(saved) == len(data) else IdSubset(data, first)
    if len(covered) == len(data):
        return saved, data, []
    return saved, covered, [f"{saved.name} has {len(covered):,} of {len(data):,} images: only these are compared"]


def image_shape(data: Dataset) -> tuple[int, ...]:
    """Return (C, H, W) of the data's first image."""
    return tuple(first_readable_batch(data, 1).images.shape[1:])


def _read_file(file: Path, shape: tuple[int, ...], bounds: Bounds) -> SavedImages:
    arrays = _read_arrays(file)
    key = next((key for key in IMAGE_KEYS if key in arrays), None)
    if key is None:
        raise DataError(f"saved images must be under {', '.join(IMAGE_KEYS)}, got {', '.join(arrays) or 'nothing'} in {file}")
    images = _to_pixel_space(arrays[key], shape, file, bounds)
    ids = None
    if "ids" in arrays:
        stored = arrays["ids"]
        if stored.dtype.kind not in "iu" or stored.shape != (len(images),):
            raise DataError(f"ids must be integers ({len(images)},), got {stored.dtype} {stored.shape} in {file}")
        ids = torch.from_numpy(stored.astype(np.int64))
    return SavedImages(file.name, images, ids, hash_file(file))


def _read_arrays(file: Path) -> NamedArrays:
    suffix = file.suffix.lower()
    if suffix in PICKLE_SUFFIXES:
        raise UnsafeError(f"saved images must be plain arrays, got pickled objects in {file}: use numpy.savez")
    if suffix == ".npy":
        raise DataError(f"saved images must be .npz or .safetensors, got one array in {file}: use numpy.savez(..., images=...)")
    try:
        if suffix == ".safetensors":
            return {name: tensor.numpy() for name, tensor in read_safetensors(file, follow_links=True).items()}
        with open_npz(file, follow_links=True) as arrays:
            return {name: arrays.read(name) for name in (*IMAGE_KEYS, "ids") if name in arrays}
    except RfgsmError:
        raise
    except FileNotFoundError:
        raise DataError(f"saved images must be in a file, got {file}, which does not exist: check the path") from None
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"saved images must be readable, got {file} ({describe_error(error)}): save them again") from error


def _to_pixel_space(stored: Any, shape: tuple[int, ...], file: Path, bounds: Bounds) -> Tensor:
    """Return saved images of any dtype and layout as float32 (N, ...), for images of that shape."""
    if stored.dtype.kind != "f" and stored.dtype != np.uint8:
        raise DataError(f"saved images must be floating point in pixel space or uint8, got {stored.dtype} in {file}")
    channels, height, width = shape if len(shape) == 3 else (0, 0, 0)
    if stored.shape[1:] == shape:
        arranged = stored
    elif stored.shape[1:] == (height, width, channels):
        arranged = stored.transpose(0, 3, 1, 2)
    elif stored.shape[1:] == (height, width) and channels == 1:
        arranged = stored[:, None]
    else:
        layouts = f"(N, {', '.join(map(str, shape))})"
        if channels:
            layouts += f" or (N, {height}, {width}, {channels})"
        raise DataError(f"saved images must be {layouts}, got {stored.shape} in {file}: save them as the data has them")
    if not len(arranged):
        raise DataError(f"saved images must be at least one, got none in {file}")
    pixels = torch.from_numpy(np.ascontiguousarray(arranged, dtype=np.float32))
    if not bool(pixels.isfinite().all()):
        bad = int((~pixels.flatten(1).isfinite().all(1)).sum())
        raise DataError(f"saved images must be finite, got {bad:,} of {len(pixels):,} with NaN or infinity in {file}")
    return levels_to_pixels(pixels, bounds) if stored.dtype == np.uint8 else pixels
