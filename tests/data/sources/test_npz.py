"""Arrays of every layout and name, and files that are none."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import robustbench_fgsm as rf
from robustbench_fgsm.data import memory
from robustbench_fgsm.data.axes import to_channels_first
from robustbench_fgsm.errors import DataError, ResourceError, SettingError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (6, 3, 8, 9), dtype=np.uint8)
LABELS = np.array([0, 2, 1, 1, 0, 2])


def saved(place: Path, *, compressed: bool = False, **arrays: Any) -> Path:
    file = place / "data.npz"
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file


def read(file: Path, **options: Any) -> rf.Batch:
    (batch,) = rf.load_data(f"npz:{file}", **options).batches(0, 100, 100)
    return batch


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("x", "y"), [("images", "labels"), ("x", "y"), ("x_test", "y_test")])
def test_names_of_arrays(tmp_path: Path, x: str, y: str, compressed: bool) -> None:
    batch = read(saved(tmp_path, compressed=compressed, **{x: IMAGES, y: LABELS}))
    assert torch.equal(batch.images, torch.from_numpy(IMAGES).float() / 255)
    assert batch.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    "stored",
    [
        IMAGES,
        IMAGES.transpose(0, 2, 3, 1),
        IMAGES.astype(np.float32) / 255,
        np.asfortranarray(IMAGES),
        IMAGES.astype(np.float64) / 255,
    ],
)
def test_detects_layouts_and_types(tmp_path: Path, stored: Any) -> None:
    batch = read(saved(tmp_path, images=stored, labels=LABELS))
    assert torch.allclose(batch.images, torch.from_numpy(IMAGES).float() / 255)


def test_drawings_that_compress_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 64 MiB, and more than 100 times the file; the remedy for little memory."""
    drawings = np.zeros((1200, 128, 128), np.float32)
    drawings[:, 60:64, 60:64] = 1
    labels = np.arange(1200) % 3
    file = saved(tmp_path, compressed=True, images=drawings, labels=labels)
    assert drawings.nbytes > max(2**26, 200 * file.stat().st_size)
    assert float(read(file).images.sum()) == 100 * 16
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    with pytest.raises(ResourceError, match=r"must fit into memory as a whole, .*: save it with numpy\.savez, uncompressed"):
        read(file)
    assert float(read(saved(tmp_path, images=drawings, labels=labels)).images.sum()) == 100 * 16


def test_keras_splits(tmp_path: Path) -> None:
    file = saved(tmp_path, x_train=IMAGES[:4], y_train=LABELS[:4], x_test=IMAGES[4:], y_test=LABELS[4:, None])
    assert read(file).labels.tolist() == [0, 2]
    assert read(file, split="train").labels.tolist() == [0, 2, 1, 1]
    with pytest.raises(SettingError, match=r"must have arrays x_val and y_val, got .*: choose from train, test"):
        read(file, split="val")


def test_grey_images_without_channels(tmp_path: Path) -> None:
    assert read(saved(tmp_path, images=IMAGES[:, 0], labels=LABELS)).images.shape == (6, 1, 8, 9)


def test_class_names(tmp_path: Path) -> None:
    named = saved(tmp_path, images=IMAGES, labels=LABELS, classes=np.array(["cat", "dog", "cow"]))
    assert rf.load_data(f"npz:{named}").classes == ("cat", "dog", "cow")
    plain = saved(tmp_path, images=IMAGES, labels=LABELS)
    assert rf.load_data(f"npz:{plain}").classes == ("0", "1", "2")


@given(n=st.integers(1, 3), channels=st.sampled_from([1, 3]), height=st.integers(4, 9), width=st.integers(4, 9))
def test_axis_orders_give_equal_images(n: int, channels: int, height: int, width: int) -> None:
    images = torch.rand(n, channels, height, width)
    for layout in (None, "NHWC", "nhwc"):
        assert torch.equal(to_channels_first(images.permute(0, 2, 3, 1), layout, "x"), images)
    for layout in (None, "NCHW"):
        assert torch.equal(to_channels_first(images, layout, "x"), images)


def test_maps_uncompressed_arrays_from_disk(tmp_path: Path) -> None:
    """Pages of the file, not memory: the mapping shows what is written to the file afterwards."""
    file = saved(tmp_path, images=IMAGES, labels=LABELS)
    data = rf.load_data(f"npz:{file}")
    at = file.read_bytes().index(IMAGES.tobytes()[:16])
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(b"\xff")
    assert float(next(iter(data)).images[0, 0, 0, 0]) == 1.0


class Gadget:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("touched"),))


@pytest.mark.parametrize("key", ["images", "labels", "classes"])
def test_opens_no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.chdir(tmp_path)
    arrays: dict[str, Any] = {"images": IMAGES, "labels": LABELS} | {key: np.array([Gadget()] * 6, dtype=object)}
    with pytest.raises(rf.UnsafeError, match="must hold plain arrays, got pickled objects"):
        read(saved(tmp_path, **arrays))
    assert not Path("touched").exists()
    Path("pure.npz").write_bytes(pickle.dumps(Gadget()))
    with pytest.raises(DataError):
        read(Path("pure.npz"))
    assert not Path("touched").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, "must hold images and labels .* got images"),
        ({"images": IMAGES.astype(np.int64), "labels": LABELS}, "got int64 of shape"),
        ({"images": IMAGES, "labels": LABELS + 0.5}, "must have integer labels, got 0.5 at image 0"),
        ({"images": IMAGES, "labels": np.ones((6, 3))}, "got multi-hot labels"),
        ({"images": IMAGES, "labels": LABELS - 1}, "must have labels from 0, got -1"),
        ({"images": IMAGES, "labels": LABELS + 2**60}, "labels must be below 1,000,000, got 1152921504606846978"),
        ({"images": IMAGES[:5], "labels": LABELS}, r"got \(5, 3, 8, 9\) and \(6,\)"),
        ({"images": IMAGES[0, 0], "labels": LABELS}, r"got \(8, 9\) and \(6,\)"),
        ({"images": LABELS.astype(np.uint8), "labels": LABELS}, "images of 2 to 5 axes"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.arange(3)}, "classes of .* must be names"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(["a"])}, r"labels must lie in \[0, 1\), got \[0, 2\]"),
    ],
)
def test_rejects_unsuitable_arrays(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(saved(tmp_path, **arrays))


def test_rejects_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "none.npz")
    whole = saved(tmp_path, images=IMAGES, labels=LABELS).read_bytes()
    for end in (0, 10, len(whole) // 2, len(whole) - 10):
        (tmp_path / "cut.npz").write_bytes(whole[:end])
        with pytest.raises(DataError):
            read(tmp_path / "cut.npz")
