"""torchvision's data sets, from files of their formats that are written here; torchvision itself reads them."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets

import robustbench_fgsm as rf
from robustbench_fgsm.data.sources.torchvision import TORCHVISION_DATASETS
from robustbench_fgsm.errors import DataError, RfgsmError, SettingError

N = 12
RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (N, 28, 28), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (N, 3, 32, 32), dtype=np.uint8)
LABELS = np.arange(N) % 10


def write_idx(file: Path, array: Any) -> None:
    """The format of the MNIST family (yann.lecun.com/exdb/mnist)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    file.write_bytes(header + array.astype(np.uint8).tobytes())


def write_mnist(root: Path, name: str, part: str = "t10k") -> None:
    """Both parts, as torchvision asks for, of which one has these images and the other none."""
    for each in ("t10k", "train"):
        n = N if each == part else 0
        write_idx(root / name / "raw" / f"{each}-images-idx3-ubyte", GREY[:n])
        write_idx(root / name / "raw" / f"{each}-labels-idx1-ubyte", LABELS[:n])


def read(name: str, root: Path, **options: Any) -> rf.Batch:
    (batch,) = rf.load_data(name, root=root, **options).batches(0, 100, 100)
    return batch


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("kmnist", "KMNIST")])
@pytest.mark.parametrize(("split", "part"), [(None, "t10k"), ("test", "t10k"), ("train", "train")])
def test_the_mnist_family(tmp_path: Path, name: str, folder: str, split: str | None, part: str) -> None:
    write_mnist(tmp_path, folder, part)
    batch = read(name, tmp_path, split=split)
    assert torch.equal(batch.images, torch.from_numpy(GREY).unsqueeze(1).float() / 255)
    assert batch.labels.tolist() == LABELS.tolist()
    assert len(rf.load_data(name, root=tmp_path, split=split).classes) == 10


def test_fashion_mnist_training_split(tmp_path: Path) -> None:
    write_mnist(tmp_path, "FashionMNIST", "train")
    train = rf.load_data("fashion-mnist", split="train", root=tmp_path)
    assert len(train) == N
    assert train.classes == rf.load_data("fashion-mnist").classes


@pytest.mark.parametrize("change", ["cut", "header of more", "header of axes", "empty", "1 TB"])
@pytest.mark.parametrize("content", ["images-idx3", "labels-idx1"])
def test_files_of_mnist_have_the_bytes_that_they_declare(tmp_path: Path, content: str, change: str) -> None:
    write_mnist(tmp_path, "MNIST")
    file = tmp_path / f"MNIST/raw/t10k-{content}-ubyte"
    whole = file.read_bytes()
    if change == "1 TB":
        os.truncate(file, 2**40)  # a sparse file, of which every byte would be read
    else:
        new = {"cut": whole[:-1], "header of more": whole[:4] + b"\xff" + whole[5:], "header of axes": b"\0\0\x08\xff" + whole[4:]}
        file.write_bytes(new.get(change, b""))
    with pytest.raises(DataError, match=r"must have the [\d,]+ bytes that its header declares, got [\d,]+: fetch it again"):
        rf.load_data("mnist", root=tmp_path)
    file.write_bytes(whole)
    assert len(rf.load_data("mnist", root=tmp_path)) == N


def test_a_pipe_in_place_of_a_file_of_mnist(tmp_path: Path) -> None:
    write_mnist(tmp_path, "MNIST")
    file = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte"
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(RfgsmError, match="t10k-images-idx3-ubyte"):
        rf.load_data("mnist", root=tmp_path)


def test_processed_files_do_not_take_the_place_of_mnist(tmp_path: Path) -> None:
    write_mnist(tmp_path, "MNIST")
    place = tmp_path / "MNIST/processed"
    place.mkdir()
    for name in ("test.pt", "training.pt"):
        torch.save((torch.zeros(5, 28, 28, dtype=torch.uint8), torch.full((5,), 3.7)), place / name)
    assert torch.equal(read("mnist", tmp_path).labels, torch.from_numpy(LABELS))


def digest(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "kind", "key", "file", "meta"),
    [
        ("cifar10", datasets.CIFAR10, b"labels", "test_batch", {"label_names": [f"c{k}" for k in range(10)]}),
        ("cifar100", datasets.CIFAR100, b"fine_labels", "test", {"fine_label_names": [f"c{k}" for k in range(100)]}),
    ],
)
def test_cifar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: Any, key: bytes, file: str, meta: dict[str, Any]
) -> None:
    place = tmp_path / kind.base_folder
    place.mkdir()
    batch = {"data": COLOUR.reshape(N, -1), key.decode(): LABELS.tolist()}
    (place / file).write_bytes(pickle.dumps(batch, protocol=2))
    (place / kind.meta["filename"]).write_bytes(pickle.dumps(meta, protocol=2))
    monkeypatch.setattr(kind, "train_list", [])
    with pytest.raises(DataError, match=f"{name} must be in .* corrupted.*: pass --download"):
        read(name, tmp_path)  # its hashes are not those that torchvision knows, so that no pickle was opened
    monkeypatch.setattr(kind, "test_list", [[file, digest(place / file)]])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": digest(place / kind.meta["filename"])})
    found = read(name, tmp_path)
    assert torch.equal(found.images, torch.from_numpy(COLOUR).float() / 255)
    assert found.labels.tolist() == LABELS.tolist()
    assert rf.load_data(name, root=tmp_path).classes[:3] == ("c0", "c1", "c2")


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "test_32x32.mat"
    stored = np.where(LABELS == 0, 10, LABELS)[:, None].astype(np.uint8)  # in the file, the digit 0 is labelled 10
    scipy.io.savemat(file, {"X": COLOUR.transpose(2, 3, 1, 0), "y": stored})
    monkeypatch.setattr(datasets.SVHN, "split_list", {"test": ["", file.name, digest(file)]})
    found = read("svhn", tmp_path)
    assert torch.equal(found.images, torch.from_numpy(COLOUR).float() / 255)
    assert found.labels.tolist() == LABELS.tolist()


def test_stl10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "stl10_binary"
    place.mkdir()
    pixels = RANDOM.integers(0, 256, (N, 3, 96, 96), dtype=np.uint8)
    (place / "test_X.bin").write_bytes(pixels.transpose(0, 1, 3, 2).tobytes())  # columns first
    (place / "test_y.bin").write_bytes((LABELS + 1).astype(np.uint8).tobytes())
    (place / "class_names.txt").write_text("\n".join(f"c{k}" for k in range(10)))
    monkeypatch.setattr(datasets.STL10, "test_list", [[name, digest(place / name)] for name in ("test_X.bin", "test_y.bin")])
    monkeypatch.setattr(datasets.STL10, "train_list", [])
    found = read("stl10", tmp_path)
    assert torch.equal(found.images, torch.from_numpy(pixels).float() / 255)
    assert found.labels.tolist() == LABELS.tolist()


def test_eurosat(tmp_path: Path, encode: Callable[..., bytes]) -> None:
    for label, name in enumerate(("Forest", "River")):
        place = tmp_path / "eurosat" / "2750" / name
        place.mkdir(parents=True)
        for index in range(3):
            (place / f"{index}.jpg").write_bytes(encode(10 * label + index, "JPEG"))
    data = rf.load_data("eurosat", root=tmp_path)
    assert data.classes == ("Forest", "River")
    assert next(data.batches(2, 5, 3)).labels.tolist() == [0, 1, 1]


def test_dtd_and_gtsrb(tmp_path: Path, encode: Callable[..., bytes]) -> None:
    labels = tmp_path / "dtd" / "dtd" / "labels"
    labels.mkdir(parents=True)
    (labels / "test1.txt").write_text("banded/a.jpg\nwoven/b.jpg\n")
    for name in ("banded/a.jpg", "woven/b.jpg"):
        file = tmp_path / "dtd" / "dtd" / "images" / name
        file.parent.mkdir(parents=True)
        file.write_bytes(encode(1, "JPEG"))
    data = rf.load_data("dtd", root=tmp_path)
    assert (data.classes, next(iter(data)).labels.tolist()) == (("banded", "woven"), [0, 1])
    place = tmp_path / "gtsrb" / "GTSRB" / "Final_Test" / "Images"
    place.mkdir(parents=True)
    (place / "00000.ppm").write_bytes(encode(2, "PPM"))
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("Filename;ClassId\n00000.ppm;16\n")
    signs = rf.load_data("gtsrb", root=tmp_path)
    assert (len(signs.classes), next(iter(signs)).labels.tolist()) == (43, [16])


@pytest.mark.parametrize("name", TORCHVISION_DATASETS)
def test_missing_data_name_their_place(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"{name} must be in {tmp_path}, .*: pass --download, or --data-root DIR") as found:
        rf.load_data(name, root=tmp_path, split="train" if name == "fashion-mnist" else None)
    assert "\n" not in str(found.value)


def test_a_download_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nno network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fail)
    with pytest.raises(DataError, match=r"Error downloading train-images-idx3-ubyte.gz:: check the network"):
        rf.load_data("mnist", root=tmp_path, download=True)


def test_an_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="split of svhn must be one of test, train, extra, got 'val'"):
        rf.load_data("svhn", root=tmp_path, split="val")
