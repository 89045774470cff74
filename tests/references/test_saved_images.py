"""Saved adversarial images: every dtype and layout that can be meant, and a clear word on all others."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

import robustbench_fgsm as rf
from robustbench_fgsm.references.saved_images import is_saved_images, load_saved_images, match_to_data

SHAPE = (3, 2, 4)
X = np.random.default_rng(0).random((5, *SHAPE), np.float32)


def saved(file: Path, **arrays: Any) -> Path:
    if file.suffix == ".npz":
        np.savez(file, **arrays)
    else:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, file)
    return file


@pytest.mark.parametrize("name", ["adv.npz", "adv.safetensors"])
@pytest.mark.parametrize("key", ["images", "x_adv", "adversarial"])
def test_images_under_any_of_three_names(tmp_path: Path, name: str, key: str) -> None:
    found = load_saved_images(saved(tmp_path / name, **{key: X}), SHAPE)
    assert torch.equal(found.images, torch.from_numpy(X))
    assert (found.name, found.ids, len(found)) == (name, None, 5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_floating_point_of_any_width(tmp_path: Path, dtype: str) -> None:
    found = load_saved_images(saved(tmp_path / "adv.npz", images=X.astype(dtype)), SHAPE)
    assert found.images.dtype == torch.float32
    torch.testing.assert_close(found.images, torch.from_numpy(X), rtol=0, atol=1e-3)


def test_eight_bits_are_divided_by_255(tmp_path: Path) -> None:
    levels = np.arange(5 * 24, dtype=np.uint8).reshape(5, *SHAPE)
    found = load_saved_images(saved(tmp_path / "adv.npz", images=levels), SHAPE)
    assert torch.equal(found.images, torch.from_numpy(levels).float() / 255)


def test_channels_last_and_grey_without_channels(tmp_path: Path) -> None:
    last = load_saved_images(saved(tmp_path / "last.npz", images=X.transpose(0, 2, 3, 1)), SHAPE)
    assert torch.equal(last.images, torch.from_numpy(X))
    grey = load_saved_images(saved(tmp_path / "grey.npz", images=X[:, 0]), (1, 2, 4))
    assert torch.equal(grey.images, torch.from_numpy(X[:, :1]))


def test_prefers_channels_first(tmp_path: Path) -> None:
    cubes = np.random.default_rng(0).random((2, 3, 3, 3), np.float32)
    assert torch.equal(load_saved_images(saved(tmp_path / "adv.npz", images=cubes), (3, 3, 3)).images, torch.from_numpy(cubes))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "shape": ({"images": X[:, :, :1]}, r"\(N, 3, 2, 4\) or \(N, 2, 4, 3\), got \(5, 3, 1, 4\)"),
    "no batch": ({"images": X[0]}, r"got \(3, 2, 4\)"),
    "integers": ({"images": X.astype(np.int64)}, "floating point in pixel space or uint8, got int64"),
    "NaN": ({"images": np.where(X > 0.5, np.nan, X)}, "must be finite, got 5 of 5"),
    "none": ({"images": X[:0]}, "at least one"),
    "another key": ({"pictures": X}, "must be under images, x_adv, adversarial"),
    "ids of another length": ({"images": X, "ids": np.arange(4)}, r"ids must be integers \(5,\), got int64 \(4,\)"),
    "ids that are numbers": ({"images": X, "ids": np.arange(5.0)}, r"ids must be integers \(5,\), got float64"),
    "ids twice": ({"images": X, "ids": np.array([0, 1, 2, 3, 3])}, "all different"),
}


@pytest.mark.parametrize(("arrays", "message"), WRONG.values(), ids=WRONG.keys())
def test_rejects_unsuitable_arrays(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    for name in ("adv.npz", "adv.safetensors"):
        with pytest.raises(rf.DataError, match=message) as raised:
            load_saved_images(saved(tmp_path / name, **arrays), SHAPE)
        assert "\n" not in str(raised.value)


class Gadget:
    """Leaves a file where it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.place,)


def test_runs_no_pickle(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    inside = np.empty(1, object)
    inside[0] = Gadget(trace)
    np.savez(tmp_path / "object.npz", images=inside)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Gadget(trace)))
    torch.save({"images": torch.from_numpy(X)}, tmp_path / "adv.pt")
    for name, found in {
        "object.npz": "got pickled objects",
        "pickle.npz": "not a zip file",
        "adv.pt": "got pickled objects",
    }.items():
        assert is_saved_images(tmp_path / name)
        with pytest.raises((rf.UnsafeError, rf.DataError), match=found):
            load_saved_images(tmp_path / name, SHAPE)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["adv.npz", "adv.safetensors"])
@given(share=st.floats(0, 1, exclude_max=True))
def test_rejects_a_truncated_file(tmp_path_factory: pytest.TempPathFactory, name: str, share: float) -> None:
    file = saved(tmp_path_factory.mktemp("cut") / name, images=X)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises((rf.DataError, rf.UnsafeError)):
        load_saved_images(file, SHAPE)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    np.save(tmp_path / "adv.npy", X)
    with pytest.raises(rf.DataError, match=r"got one array in .*: use numpy.savez"):
        load_saved_images(tmp_path / "adv.npy", SHAPE)
    with pytest.raises(rf.DataError, match="does not exist"):
        load_saved_images(tmp_path / "adv.npz", SHAPE)
    with pytest.raises(rf.DataError, match="got none in"):
        load_saved_images(tmp_path, SHAPE)
    assert not is_saved_images("mine.py:fgsm")


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_a_directory_of_saved_adversarial_images(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, tmp_path: Path, kind: str
) -> None:
    rf.save_adversarial(classifier, images.head(40), tmp_path / "run", shard_size=16, format=kind)
    found = load_saved_images(tmp_path / "run", (1, 28, 28))
    assert found.ids is not None
    assert found.ids.tolist() == list(range(40))
    (tmp_path / "two").mkdir()
    for number in range(2):
        saved(tmp_path / "two" / f"adversarial-{number}.{kind}", images=X)
    with pytest.raises(rf.DataError, match="must say their ids"):
        load_saved_images(tmp_path / "two", SHAPE)


def test_no_ids_mean_the_first_images(images: rf.ArrayDataset, tmp_path: Path) -> None:
    x = next(images.batches(0, 20, 20)).images.numpy()
    some = load_saved_images(saved(tmp_path / "adv.npz", images=x), (1, 28, 28))
    found, covered, warnings = match_to_data(some, images)
    assert len(covered) == 20
    assert warnings == ["adv.npz has 20 of 256 images: only these are compared"]
    assert torch.equal(found.by_ids(torch.tensor([7, 3])), torch.from_numpy(x[[7, 3]]))
    all_of_them = match_to_data(some, images.head(20))
    assert (len(all_of_them[1]), all_of_them[2]) == (20, [])
    with pytest.raises(rf.DataError, match="those of the 10 images in order, got 20"):
        match_to_data(some, images.head(10))


def test_ids_in_any_order(images: rf.ArrayDataset, tmp_path: Path) -> None:
    ids = np.array([9, 4, 300, 0])
    some = load_saved_images(saved(tmp_path / "adv.npz", images=X[:4, :1], ids=ids), (1, 2, 4))
    found, covered, warnings = match_to_data(some, images)
    (batch,) = covered.batches(0, 9, 9)
    assert batch.ids.tolist() == [0, 4, 9]
    assert torch.equal(found.by_ids(batch.ids), torch.from_numpy(X[[3, 1, 0], :1]))
    assert "3 of 256" in warnings[0]
