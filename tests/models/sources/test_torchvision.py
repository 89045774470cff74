"""torchvision's names: their own weights and preprocessing, a checkpoint in the hub's cache, and checkpoints of one's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

import robustbench_fgsm as rf
from robustbench_fgsm.errors import ModelError, SettingError
from robustbench_fgsm.models.download import hub_cache_path
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.models.sources.torchvision import names

Agrees = Callable[[rf.Classifier, rf.ArrayDataset], bool]
Noise = Callable[..., rf.ArrayDataset]
WEIGHTS = models.ResNet18_Weights.IMAGENET1K_V1


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""

    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def place(hub: Path, monkeypatch: pytest.MonkeyPatch, network: nn.Module) -> Path:
    """A checkpoint where the hub keeps it, under a name that carries its hash, as torchvision's do."""
    torch.save(network.state_dict(), hub / "made.pth")
    digest = hashlib.sha256((hub / "made.pth").read_bytes()).hexdigest()
    url = f"https://download.pytorch.org/models/resnet18-{digest[:8]}.pth"
    monkeypatch.setattr(WEIGHTS, "_value_", replace(WEIGHTS.value, url=url))
    return (hub / "made.pth").rename(hub / url.rpartition("/")[2])


def thousand(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network: nn.Module = models.resnet18()
    return network.eval()


@pytest.mark.reference
@pytest.mark.parametrize("weights", ["auto", "DEFAULT", "IMAGENET1K_V1"])
def test_uses_a_cached_checkpoint(hub: Path, monkeypatch: pytest.MonkeyPatch, weights: str, agrees: Agrees, colour: Noise) -> None:
    network = thousand()
    place(hub, monkeypatch, network)
    classifier = rf.load_classifier("resnet18", weights=weights, data="imagenet")
    assert classifier.classes == tuple(WEIGHTS.meta["categories"])
    assert classifier.info.weights == "IMAGENET1K_V1"
    assert classifier.info.mean == (0.485, 0.456, 0.406)
    assert classifier.info.preprocessing == Preprocessing((256,), (224, 224), "bilinear", antialias=True)
    x = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    torch.testing.assert_close(classifier.predict(x), network((x - mean) / std))
    if weights == "auto":
        assert agrees(classifier, colour(classifier.classes))


def test_loads_weights_without_batch_counters(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = thousand()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked = None
    place(hub, monkeypatch, network)
    assert rf.load_classifier("resnet18", weights="DEFAULT").info.weights == "IMAGENET1K_V1"


def test_rejects_a_file_of_another_hash(hub: Path) -> None:
    file = hub_cache_path(WEIGHTS.url)
    torch.save(thousand().state_dict(), file)
    with pytest.raises(ModelError, match=f"a sha256 that begins with f37072fd, got .* in {file}: remove it"):
        rf.load_classifier("resnet18", weights="DEFAULT")


def test_a_failed_download_shows_a_remedy(hub: Path) -> None:
    with pytest.raises(ModelError) as refused:
        rf.load_classifier("resnet18", data="imagenet")
    assert f"fetch {WEIGHTS.url} elsewhere and put it at {hub}/resnet18-f37072fd.pth" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(hub.iterdir()) == []


@pytest.mark.reference
def test_an_own_checkpoint_with_its_description(tmp_path: Path, agrees: Agrees, colour: Noise) -> None:
    torch.manual_seed(0)
    network = models.shufflenet_v2_x0_5(num_classes=10).eval()
    file = tmp_path / "mine.pth"
    torch.save({"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}, file)
    described = {"num_classes": 10, "mean": [0.5, 0.4, 0.3], "std": 0.25, "bounds": (0, 1)}
    classifier = rf.load_classifier("shufflenet_v2_x0_5", weights=str(file), **described)  # type: ignore[arg-type]
    x = torch.rand(2, 3, 32, 32)
    mean = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)
    torch.testing.assert_close(classifier.predict(x), network((x - mean) / 0.25))
    assert classifier.info.settings == {"num_classes": 10, "mean": [0.5, 0.4, 0.3], "std": 0.25, "bounds": [0.0, 1.0]}
    assert agrees(classifier, colour())
    with pytest.raises(ModelError, match="pass --mean and --std"):
        rf.load_classifier("shufflenet_v2_x0_5", weights=str(file), num_classes=10)
    with pytest.raises(ModelError, match=r"12 classes, got 10 in .*: pass --num-classes 10"):
        rf.load_classifier("shufflenet_v2_x0_5", weights=str(file), mean=0, std=1, num_classes=12)
    assert rf.load_classifier("shufflenet_v2_x0_5", weights=str(file), mean=0, std=1).num_classes == 10


@pytest.mark.reference
@pytest.mark.parametrize(
    "network",
    [VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=10), SwinTransformer([4, 4], 8, [1, 1], [1, 2], [4, 4], num_classes=10)],
    ids=["vit", "swin"],
)
def test_transformers_agree(network: nn.Module, agrees: Agrees, colour: Noise) -> None:
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    assert agrees(rf.wrap(network, 10, mean=[0.5, 0.4, 0.3], std=0.25), colour())


@pytest.mark.parametrize(
    ("weights", "remedy"),
    [("DEFALT", r"did you mean DEFAULT\?"), ("nosuch", "auto, none, IMAGENET1K_V1, DEFAULT, standard, or a checkpoint")],
)
def test_unknown_weights_show_all_names(weights: str, remedy: str) -> None:
    with pytest.raises(ModelError, match=remedy):
        rf.load_classifier("resnet18", weights=weights)


def test_rejects_options_known_from_the_weights() -> None:
    with pytest.raises(SettingError, match="takes no --mean, --threat-model: leave it out"):
        rf.load_classifier("resnet50", mean=0.5, threat_model="Linf")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "densenet121", "mnasnet0_75"])
def test_networks_with_peculiar_weights(name: str, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = models.get_model_weights(name).DEFAULT
    special = {"aux_logits": True, "transform_input": True, "init_weights": False} if "cept" in name or "goog" in name else {}
    network = models.get_model(name, **special)
    url = "https://download.pytorch.org/models/peculiar.pth"
    monkeypatch.setattr(weights, "_value_", replace(weights.value, url=url))
    torch.save(network.state_dict(), hub / "peculiar.pth")
    classifier = rf.load_classifier(name)
    size = 96 if name != "densenet121" else 32
    x = torch.rand(1, 3, size, size)
    assert classifier.predict(x).shape == (1, 1000)


def test_lists_every_name_with_its_size(hub: Path) -> None:
    found = {(name.spec, name.weights): name for name in names()}
    name = found["resnet50", "IMAGENET1K_V2"]
    assert (name.parameters, name.on_disk) == (25_557_032, False)
    assert name.size == pytest.approx(97.79 * 2**20, rel=1e-3)
    assert {spec for spec, _ in found} == set(models.list_models(module=models))
