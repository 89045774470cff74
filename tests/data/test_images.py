"""Images decoded on demand: the same by any way and in any process, and none lost without a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import first_readable_batch
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.models.preprocessing import Preprocessing

Folder = Callable[..., Path]


class Memory:
    """A source of given bytes and labels, which counts what is read."""

    fingerprint = "memory"

    def __init__(self, files: Sequence[bytes], labels: Sequence[int]) -> None:
        self.files = files
        self.all_labels = labels
        self.read_at: list[int] = []

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> tuple[bytes, int]:
        self.read_at.append(index)
        if self.files[index] == b"gone":
            raise FileNotFoundError(2, "No such file or directory")
        return self.files[index], self.all_labels[index]

    def path(self, index: int) -> str:
        return f"memory/{index}"

    def labels(self) -> Sequence[int]:
        return self.all_labels


def made(files: Sequence[bytes], labels: Sequence[int] | None = None, **options: object) -> ImageDataset:
    source = Memory(files, labels or [index % 2 for index in range(len(files))])
    return ImageDataset("memory", source, ("even", "odd"), workers=0, **options)  # type: ignore[arg-type]


def test_reads_only_requested_images(encode: Callable[..., bytes]) -> None:
    source = Memory([encode(seed) for seed in range(100)], [0] * 100)
    data = ImageDataset("memory", source, ("one",), workers=0)
    next(data.batches(50, 60, 4))
    assert len(source.read_at) <= 32 + 4  # a few headers, and one batch


@pytest.mark.parametrize("workers", [1, 3])
def test_worker_processes_keep_the_order(folder: Folder, workers: int) -> None:
    place = folder(each=9)
    alone = list(rf.load_data(f"folder:{place}", workers=0).batches(1, 18, 4))
    together = list(rf.load_data(f"folder:{place}", workers=workers).batches(1, 18, 4))
    assert [batch.ids.tolist() for batch in together] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16], [17]]
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("workers", [0, 2])
def test_keeps_the_global_random_state(folder: Folder, workers: int) -> None:
    data = rf.load_data(f"folder:{folder()}", workers=workers)
    before = torch.get_rng_state()
    list(data.batches(0, 6, 2))
    assert torch.equal(torch.get_rng_state(), before)


def test_pixels_are_float32_shares_of_255(folder: Folder) -> None:
    batch = next(rf.load_data(f"folder:{folder()}").batches(0, 3, 3))
    assert (batch.images.dtype, batch.images.shape) == (torch.float32, (3, 3, 10, 12))
    assert torch.equal(batch.images, (batch.images * 255).round() / 255)


def test_only_all_grey_images_stay_grey(encode: Callable[..., bytes]) -> None:
    grey, colour = encode(1, mode="L"), encode(2)
    assert next(iter(made([grey] * 3))).images.shape[1] == 1
    assert next(iter(made([grey, grey, colour]))).images.shape[1] == 3


@pytest.mark.parametrize(
    ("file", "label", "reason"),
    [
        (b"", 0, "the file is empty"),
        (b"cut", 0, "cannot be decoded|image file is truncated|cannot identify"),
        (b"GIF89a", 0, "not an image in one of"),
        (b"gone", 0, "No such file or directory"),
        (b"whole", 2, "label 2 is none of the 2 classes"),
        (b"whole", -1, "label -1 is none of the 2 classes"),
    ],
)
def test_names_a_bad_sample(encode: Callable[..., bytes], file: bytes, label: int, reason: str) -> None:
    """Fault 8."""
    whole = encode(1, size=(40, 40))
    broken = {b"cut": whole[: len(whole) // 2], b"whole": whole}.get(file, file)
    (batch,) = made([whole, broken, whole], [0, label, 1]).batches(0, 3, 3)
    assert (batch.ids.tolist(), batch.labels.tolist()) == ([0, 2], [0, 1])
    ((path, found),) = [(bad.path, bad.reason) for bad in batch.bad]
    assert path == "memory/1"
    assert any(part in found for part in reason.split("|"))


def test_a_batch_of_bad_samples_is_empty(encode: Callable[..., bytes]) -> None:
    first, second = made([b"", b"", encode()], [0, 0, 1]).batches(0, 3, 2)
    assert (len(first), len(first.bad), len(second)) == (0, 2, 1)


@pytest.mark.parametrize("size", [1, 4])
def test_rejects_images_of_unequal_size(encode: Callable[..., bytes], size: int) -> None:
    files = [encode(1), encode(2), encode(3, size=(5, 7))]
    with pytest.raises(DataError, match=r"got 3 x 10 x 12 \(memory/0\) and 3 x 7 x 5 \(memory/2\): pass --image-size N"):
        list(made(files).batches(0, 3, size))
    batch = next(made(files, preprocessing=Preprocessing.square(6)).batches(0, 3, 3))
    assert batch.images.shape == (3, 3, 6, 6)


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_take_one_line(folder: Folder, encode: Callable[..., bytes], workers: int) -> None:
    place = folder()
    (place / "dog" / "9.png").write_bytes(encode(1, size=(9, 9)))
    with pytest.raises(DataError) as found:
        list(rf.load_data(f"folder:{place}", workers=workers).batches(0, 7, 2))
    assert "\n" not in str(found.value)


def test_fingerprint_depends_on_data_and_size(folder: Folder) -> None:
    place = folder()
    data = rf.load_data(f"folder:{place}")
    again, small = rf.load_data(f"folder:{place}"), rf.load_data(f"folder:{place}", image_size=8)
    assert data.fingerprint == again.fingerprint != small.fingerprint
    (place / "cat" / "0.png").write_bytes(b"other")
    assert rf.load_data(f"folder:{place}").fingerprint != data.fingerprint


def test_other_names_leave_the_fingerprint(folder: Folder) -> None:
    data = rf.load_data(f"folder:{folder()}")
    assert isinstance(data, ImageDataset)
    renamed = data.with_class_names(("Cat", "Dog"))
    assert (renamed.classes, renamed.fingerprint) == (("Cat", "Dog"), data.fingerprint)


def test_other_labels(folder: Folder) -> None:
    data = rf.load_data(f"folder:{folder()}")
    assert isinstance(data, ImageDataset)
    turned = data.relabelled((1, 0), ("dog", "cat"))
    assert turned.labels.tolist() == [1, 1, 1, 0, 0, 0]
    assert next(turned.batches(2, 4, 2)).labels.tolist() == [1, 0]
    assert turned.fingerprint != data.fingerprint


def test_relabels_images_without_labels() -> None:
    turned = made([b""] * 4, [0, 1, -1, 5]).relabelled((1, 0), ("odd", "even"))
    assert turned.labels.tolist() == [1, 0, -1, -1]


def test_rejects_data_without_readable_images() -> None:
    with pytest.raises(DataError, match=r"got 3 bad ones, first memory/0: the file is empty"):
        first_readable_batch(made([b""] * 3), 2)
