"""`wds:PATTERN`: WebDataset shards, tar archives of `KEY.jpg` or `KEY.png` beside `KEY.cls`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from robustbench_fgsm.data.class_names import numbered_class_names
from robustbench_fgsm.data.decoding import UnreadableError
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.folder import IMAGE_SUFFIXES, UNSUPPORTED_IMAGE_SUFFIXES
from robustbench_fgsm.data.sources.tar_shards import TarMember, TarShard, expand_pattern, tar_members
from robustbench_fgsm.errors import DataError

LABEL_SUFFIX = ".cls"
MAX_LABEL_BYTES = 32
NO_LABEL = -1


@dataclass(frozen=True)
class ShardSample:
    """One key of a shard; label: number of its .cls member; reason: why it is unreadable, empty if it is readable."""

    image: TarMember | None
    label: int
    location: str
    reason: str = ""


class TarImageSource:
    """Samples of WebDataset shards, by index."""

    def __init__(self, samples: Sequence[ShardSample]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 of name, size and label of every sample; no image is read."""
        digest = hashlib.sha256()
        for sample in self._samples:
            name, size = (sample.image.name, sample.image.size) if sample.image else ("", -1)
            digest.update(f"{name}\0{size}\0{sample.label}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def read(self, index: int) -> tuple[bytes, int]:
        """Return the image's bytes and its label; raise UnreadableError if the shard lacks one of them."""
        sample = self._samples[index]
        if sample.image is None or sample.reason:
            raise UnreadableError(sample.reason)
        return sample.image.read(), sample.label

    def path(self, index: int) -> str:
        """Return the shard and the name of the image in it."""
        return self._samples[index].location

    def labels(self) -> Sequence[int]:
        """Return all labels, by index, -1 if there is none."""
        return [sample.label for sample in self._samples]


def load(pattern: str, options: DataOptions) -> ImageDataset:
    """Return the samples of all shards, in order; classes are named by their labels.

    Raises UnsafeError for a `pipe:` pattern, a pickle, or an archive with members that no image archive has; DataError for a shard
    that is not a tar archive.
    """
    options.reject_split("wds")
    samples = [sample for shard in expand_pattern(pattern) for sample in read_shard(shard)]
    if not samples:
        raise DataError(f"wds shards must hold images beside .cls members, got none in {pattern}: check the pattern")
    count = max(sample.label for sample in samples) + 1
    return ImageDataset(f"wds:{pattern}", TarImageSource(samples), numbered_class_names(count), workers=options.workers)


def read_shard(shard: TarShard) -> list[ShardSample]:
    """Return the samples of one shard, in the order of their first members; a key ends at the first dot of the file name.

    Every image is in one sample: all images of a key that has several of them are unreadable.
    """
    images: dict[str, list[TarMember]] = {}
    labels: dict[str, list[TarMember]] = {}
    for member in tar_members(shard):
        path = PurePosixPath(member.name)
        key, dot, extension = path.name.partition(".")
        if not key or path.name.startswith("."):
            continue
        key_path, suffix = str(path.parent / key), f".{extension}".lower() if dot else ""
        if suffix == LABEL_SUFFIX:
            images.setdefault(key_path, [])
            labels.setdefault(key_path, []).append(member)
        if suffix in IMAGE_SUFFIXES | UNSUPPORTED_IMAGE_SUFFIXES:
            images.setdefault(key_path, []).append(member)
    return [sample for key, found in images.items() for sample in _make_samples(shard, key, found, labels.get(key, []))]


def _make_samples(shard: TarShard, key: str, images: Sequence[TarMember], labels: Sequence[TarMember]) -> list[ShardSample]:
    """Return one sample for each image of a key, or one for its label if there is no image."""
    text = labels[0].read().strip() if len(labels) == 1 and labels[0].size <= MAX_LABEL_BYTES else b""
    number = int(text) if text.isdigit() else NO_LABEL
    if len(images) != 1:
        reason = f"{len(images)} images of one key, for which there must be one"
        return [ShardSample(None, number, f"{shard}/{name}", reason) for name in [image.name for image in images] or [key]]
    location = f"{shard}/{images[0].name}"
    if len(labels) > 1:
        return [ShardSample(images[0], NO_LABEL, location, f"{len(labels)} .cls members of one key, for which there must be one")]
    if number < 0:
        return [ShardSample(images[0], NO_LABEL, location, "no .cls member with a number from 0")]
    return [ShardSample(images[0], number, location)]
