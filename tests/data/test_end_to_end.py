"""Data of every kind, from real files of that format, through `compare` against ART."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import robustbench_fgsm as rf
from tests.data.sources.test_torchvision import write_mnist
from tests.data.sources.test_webdataset import archive

Pixels = NDArray[np.uint8]
N, CLASSES = 12, tuple(f"c{label}" for label in range(10))


@pytest.fixture
def pixels() -> Pixels:
    """Colour images (N, H, W, 3), whose labels are their places modulo ten."""
    return np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)


def png(image: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def as_folder(place: Path, pixels: Pixels) -> str:
    for index, image in enumerate(pixels):
        (place / "images" / CLASSES[index % 10]).mkdir(parents=True, exist_ok=True)
        (place / "images" / CLASSES[index % 10] / f"{index}.png").write_bytes(png(image))
    return f"folder:{place / 'images'}"


def as_npz(place: Path, pixels: Pixels) -> str:
    np.savez(place / "data.npz", x_test=pixels, y_test=np.arange(N) % 10, x_train=pixels[:1], y_train=[0])
    return f"npz:{place / 'data.npz'}"


def as_safetensors(place: Path, pixels: Pixels) -> str:
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    save_file({"images": images, "labels": torch.arange(N) % 10}, str(place / "data.safetensors"))
    return f"safetensors:{place / 'data.safetensors'}"


def as_shards(place: Path, pixels: Pixels) -> str:
    for shard, indices in enumerate((range(N // 2), range(N // 2, N))):
        images = [(f"{index:04d}.png", png(pixels[index])) for index in indices]
        labels = [(f"{index:04d}.cls", str(index % 10).encode()) for index in indices]
        (place / f"{shard}.tar").write_bytes(archive([*images, *labels]))
    return f"wds:{place}/{{0..1}}.tar"


def as_table(place: Path, pixels: Pixels) -> str:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    rows = {"image": [{"bytes": png(image), "path": None} for image in pixels], "label": [i % 10 for i in range(N)]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(place / "table"))
    return f"hf-data:{place / 'table'}"


def as_factory(place: Path, pixels: Pixels) -> str:
    np.save(place / "pixels.npy", pixels)
    (place / "mine.py").write_text(
        "import numpy as np, torch\nfrom pathlib import Path\n\ndef images():\n"
        "    pixels = torch.from_numpy(np.load(Path(__file__).with_name('pixels.npy'))).permute(0, 3, 1, 2)\n"
        "    return torch.utils.data.TensorDataset(pixels, torch.arange(len(pixels)) % 10)\n"
    )
    return f"factory:{place / 'mine.py'}:images"


@pytest.mark.reference
@pytest.mark.parametrize("write", [as_folder, as_npz, as_safetensors, as_shards, as_table, as_factory])
def test_every_format_agrees_with_art(tmp_path: Path, pixels: Pixels, write: Callable[[Path, Pixels], str]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 10))
    classifier = rf.wrap(network, 10, mean=[0.5, 0.4, 0.3], std=0.25)
    found = rf.compare(classifier, rf.load_data(write(tmp_path, pixels)), 8 / 255, batch_size=5)
    plain = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    outputs = classifier.predict(rf.fgsm(classifier, plain, torch.arange(N) % 10, 8 / 255))
    assert (found.verdict, found.ours.tally.n, found.ours.tally.zero_gradient) == ("agree", N, 0)
    assert found.ours.tally.adversarial.sum(0).tolist() == outputs.argmax(1).bincount(minlength=10).tolist()


@pytest.mark.reference
def test_a_set_of_torchvisions(tmp_path: Path) -> None:
    write_mnist(tmp_path, "MNIST")
    torch.manual_seed(0)
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 10, mean=0.13, std=0.31)
    found = rf.compare(classifier, rf.load_data("mnist", root=tmp_path, limit=5), 8 / 255)
    assert (found.verdict, found.ours.tally.n) == ("agree", 5)
