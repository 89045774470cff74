"""timm's names, with the normalisation and preprocessing of their tags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import robustbench_fgsm as rf
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.preprocessing import Preprocessing

timm = pytest.importorskip("timm")

from robustbench_fgsm.models.sources import timm as source  # noqa: E402

Agrees = Callable[[rf.Classifier, rf.ArrayDataset], bool]
NAME = "resnet10t.c3_in1k"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("timm")
    save_file(timm.create_model(NAME, pretrained=False).state_dict(), folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.mark.reference
def test_weights_of_a_tag(
    file: Path, monkeypatch: pytest.MonkeyPatch, agrees: Agrees, colour: Callable[..., rf.ArrayDataset]
) -> None:
    asked: list[Any] = []

    def cached(repository: str, patterns: object) -> Path:
        asked.append(repository)
        return file.parent

    monkeypatch.setattr(source, "fetch_hub_files", cached)
    classifier = rf.load_classifier(f"timm:{NAME}")
    assert asked == [f"timm/{NAME}"]
    assert (classifier.num_classes, classifier.info.weights) == (1000, "c3_in1k")
    assert classifier.info.mean == (0.485, 0.456, 0.406)
    assert classifier.info.preprocessing == Preprocessing((201,), (176, 176), "bicubic")
    theirs = timm.data.create_transform(**timm.data.resolve_data_config(timm.get_pretrained_cfg(NAME).to_dict())).transforms
    assert (theirs[0].size, theirs[1].size) == (201, (176, 176))
    assert agrees(classifier, colour(tuple(map(str, range(1000)))))
    assert rf.load_classifier(f"timm:{NAME}", weights=str(file)).info.sha256 == classifier.info.sha256


@pytest.mark.reference
def test_the_architecture_alone(images: rf.ArrayDataset, agrees: Agrees) -> None:
    torch.manual_seed(0)
    classifier = rf.load_classifier("timm:resnet10t", weights="none", num_classes=10, mean=0.5, std=0.25)
    assert (classifier.num_classes, classifier.info.preprocessing) == (10, None)
    assert agrees(classifier, images.head(6))


def test_untagged_checkpoints_need_normalisation(file: Path) -> None:
    with pytest.raises(ModelError, match="pass --mean and --std"):
        rf.load_classifier("timm:resnet10t", weights=str(file))
    assert rf.load_classifier("timm:resnet10t", weights=str(file), mean=0, std=1).info.mean is None


def test_rejects_nonfinite_weights(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = timm.create_model(NAME, pretrained=False).state_dict()
    save_file(state | {"fc.bias": torch.full((1000,), torch.inf)}, tmp_path / "model.safetensors")
    monkeypatch.setattr(source, "fetch_hub_files", lambda *_: tmp_path)
    with pytest.raises(ModelError, match=r"fc\.bias not finite"):
        rf.load_classifier(f"timm:{NAME}")


@pytest.mark.parametrize(
    ("name", "weights", "problem"),
    [
        ("resnt10t", "auto", r"did you mean resnet10t"),
        ("zzz", "auto", r"choose from 1,\d{3} names such as aimv2_1b_patch14_224, [^ ]+, .{20,400}$"),
        ("relu", "none", r"timm model must be a name of timm, got 'relu'"),  # another word of timm's source
        ("resnet10t.c3_in1", "auto", r"tag of resnet10t must be one of c3_in1k, got 'c3_in1': did you mean c3_in1k"),
        (NAME, "IMAGENET1K_V1", "timm names its weights in the model"),
    ],
)
def test_unknown_names(name: str, weights: str, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        rf.load_classifier(f"timm:{name}", weights=weights)


@pytest.mark.parametrize(("mode", "expected"), [("center", Preprocessing((256,), (224, 224), "bicubic")), ("border", None)])
def test_crop_modes(mode: str, expected: Preprocessing | None) -> None:
    config = {"input_size": (3, 224, 224), "crop_pct": 0.875, "crop_mode": mode, "interpolation": "bicubic"}
    assert source.preprocessing_from_config(config) == expected


def test_pretrained_names_are_listed() -> None:
    assert f"timm:{NAME}" in {found.spec for found in source.names()}
