"""How many images at a time where nobody says: by the network, and the same everywhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.batch_size import BATCH_LIMITS, MIB, choose_batch_size, largest_activation_bytes
from robustbench_fgsm.errors import ModelError, SettingError


def wide(channels: int, side: int) -> tuple[rf.TorchClassifier, rf.ArrayDataset]:
    """A network whose largest layer keeps 4 * channels * side ** 2 bytes of an image, and images for it."""
    layers = nn.Sequential(nn.Conv2d(1, channels, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.rand(3, 1, side, side)
    classes = tuple(map(str, range(channels)))
    return rf.wrap(layers, channels), rf.ArrayDataset("noise", images, torch.zeros(3, dtype=torch.int64), classes)


@pytest.mark.parametrize(("channels", "side"), [(2, 4), (16, 32), (64, 64), (64, 256)])
def test_largest_layer_just_fits(channels: int, side: int) -> None:
    network, data = wide(channels, side)
    kept = largest_activation_bytes(network, data._images)
    assert kept == 4 * channels * side**2
    size, room = choose_batch_size("auto", network, data), BATCH_LIMITS["cpu"]
    assert size.bit_count() == 1
    assert size in (room.min_images, room.max_images) or size * kept <= room.max_layer_bytes < 2 * size * kept
    assert (size == room.max_images) == (room.max_images * kept <= room.max_layer_bytes)


@pytest.mark.parametrize(("name", "size"), [("mlp300", 256), ("smallcnn", 128), ("resnet18", 256)])
def test_bundled_networks(name: str, size: int, images: rf.ArrayDataset) -> None:
    network = rf.load_classifier(name, device="cpu")
    assert choose_batch_size("auto", network, images) == size
    assert rf.evaluate(network, images, optimize="none").to_dict()["plan"]["batch_size"] == size


def test_weights_are_not_counted() -> None:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(4, 5 * MIB // 16), nn.ReLU(), nn.Linear(5 * MIB // 16, 2))
    network = rf.wrap(layers, 2)
    assert largest_activation_bytes(network, torch.rand(1, 1, 2, 2)) == 5 * MIB // 4
    assert all(parameter.grad is None for parameter in network.network.parameters())


def test_takes_the_given_size(images: rf.ArrayDataset) -> None:
    network = rf.load_classifier("mlp300", device="cpu")
    assert choose_batch_size(7, network, images) == choose_batch_size("7", network, images) == 7
    with pytest.raises(rf.SettingError, match="batch size"):
        choose_batch_size(0, network, images)


def test_leaves_errors_to_the_preflight(images: rf.ArrayDataset) -> None:
    network = rf.wrap(nn.Linear(3, 10), 10)
    assert choose_batch_size("auto", network, images) == 128
    with pytest.raises(rf.ModelError, match="images of shape"):
        rf.evaluate(network, images)


def test_no_image_is_alone_under_batch_statistics() -> None:
    network = rf.wrap(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2)), 2)
    for n in (2, 3, 5, 129, 257):
        data = rf.ArrayDataset("noise", torch.rand(n, 1, 2, 2), torch.arange(n) % 2, ("a", "b"))
        evaluation = rf.evaluate(network, data)
        assert evaluation.n == n
        assert n % evaluation.plan.batch_size != 1
        assert n == 2 or "depend on the images beside it" in evaluation.warnings[0]
        assert rf.compare(network, data).verdict == "agree"
    with pytest.raises(SettingError, match="--batch-size 63") as error:
        rf.evaluate(network, data, batch_size=64)
    proposed = int(str(error.value).rpartition(" ")[2])
    assert rf.evaluate(network, data, batch_size=proposed).n == 257
    alone = rf.ArrayDataset("one", torch.rand(1, 1, 2, 2), torch.tensor([0]), ("a", "b"))
    with pytest.raises(ModelError, match="two images at least, got one"):
        rf.evaluate(network, alone)
