"""`wds:PATTERN`: WebDataset shards, tar archives of `KEY.jpg` or `KEY.png` beside `KEY.cls`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from robustbench_fgsm.data.class_names import numbers
from robustbench_fgsm.data.decoding import UnreadableError
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.registry import DataOptions, Source
from robustbench_fgsm.data.sources.folder import IMAGES, OTHER_IMAGES
from robustbench_fgsm.data.sources.tar_shards import Member, Shard, expand, members
from robustbench_fgsm.errors import DataError

LABEL = ".cls"
MOST_LABEL_BYTES = 32
NO_LABEL = -1


@dataclass(frozen=True)
class Sample:
    """One key of a shard; label is the number in its .cls member; reason: why it cannot be had, empty where it can."""

    image: Member | None
    label: int
    place: str
    reason: str = ""


class TarSource:
    """Samples of WebDataset shards by index."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over name, size and label of every sample, not over what is in the images."""
        digest = hashlib.sha256()
        for sample in self._samples:
            name, size = (sample.image.name, sample.image.size) if sample.image else ("", -1)
            digest.update(f"{name}\0{size}\0{sample.label}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def read(self, index: int) -> tuple[bytes, int]:
        """The image's bytes and its label; raises UnreadableError where the shard lacks one of them."""
        sample = self._samples[index]
        if sample.image is None or sample.reason:
            raise UnreadableError(sample.reason)
        return sample.image.read(), sample.label

    def path(self, index: int) -> str:
        """Shard and name of the image in it."""
        return self._samples[index].place

    def labels(self) -> Sequence[int]:
        """All labels, by index, -1 where there is none."""
        return [sample.label for sample in self._samples]


def load_shards(pattern: str, options: DataOptions) -> ImageDataset:
    """The samples of all shards, in order; classes are called by their labels.

    Raises UnsafeError for `pipe:`, pickles, and archives that no image archive is like; DataError for others than tar.
    """
    options.no_split("wds")
    samples = [sample for shard in expand(pattern) for sample in read_shard(shard)]
    if not samples:
        raise DataError(f"wds shards must hold images beside .cls members, got none in {pattern}: check the pattern")
    count = max(sample.label for sample in samples) + 1
    return ImageDataset(f"wds:{pattern}", TarSource(samples), numbers(count), workers=options.workers)


def read_shard(shard: Shard) -> list[Sample]:
    """The samples of one shard, by the order of their first members; a key is a path up to the first dot of its name."""
    images: dict[str, list[Member]] = {}
    labels: dict[str, Member] = {}
    for member in members(shard):
        path = PurePosixPath(member.name)
        key, dot, extension = path.name.partition(".")
        if not key or path.name.startswith("."):
            continue
        place, suffix = str(path.parent / key), f".{extension}".lower() if dot else ""
        if suffix == LABEL:
            images.setdefault(place, [])
            labels[place] = member
        if suffix in IMAGES | OTHER_IMAGES:
            images.setdefault(place, []).append(member)
    return [_sample(shard, key, found, labels.get(key)) for key, found in images.items()]


def _sample(shard: Shard, key: str, images: Sequence[Member], label: Member | None) -> Sample:
    number = NO_LABEL if label is None or label.size > MOST_LABEL_BYTES else _number(label.read())
    place = f"{shard}/{images[0].name if images else key}"
    if len(images) != 1:
        return Sample(None, number, place, f"{len(images)} images of one key, for which there must be one")
    if number < 0:
        return Sample(images[0], NO_LABEL, place, "no .cls member with a number from 0")
    return Sample(images[0], number, place)


def _number(text: bytes) -> int:
    stripped = text.strip()
    return int(stripped) if stripped.isdigit() else NO_LABEL


SOURCES = (Source("wds:PATTERN", "WebDataset shards, tar archives with .cls beside .jpg or .png", load_shards),)
