"""Folders in Hugging Face's layout: safetensors alone, no code, and the image processor's normalisation."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import robustbench_fgsm as rf
from robustbench_fgsm.data.decoding import pillow_to_pixels
from robustbench_fgsm.errors import ModelError, UnsafeError
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.spec import task_of

transformers = pytest.importorskip("transformers")

from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES  # noqa: E402

from robustbench_fgsm.models.sources.huggingface import (  # noqa: E402
    HuggingFaceNetwork,
    normalisation_from_processor,
    preprocessing_from_processor,
)
from robustbench_fgsm.models.sources.huggingface_files import MODEL_TYPES, ProcessorConfig, read_processor_config  # noqa: E402

Agrees = Callable[[rf.Classifier, rf.ArrayDataset], bool]
PROCESSOR: dict[str, Any] = {
    "do_resize": True,
    "size": {"height": 28, "width": 28},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5],
    "image_std": [0.25],
}


def tiny(kind: str) -> Any:
    torch.manual_seed(0)
    common = {"num_channels": 1, "num_labels": 10}
    if kind == "vit":
        shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        config = transformers.ViTConfig(image_size=28, patch_size=7, initializer_range=0.3, **shape, **common)
        return transformers.ViTForImageClassification(config).eval()
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **common)
    return transformers.ResNetForImageClassification(config).eval()


@pytest.fixture(params=["vit", "resnet"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    return stored(request.param, tmp_path / "model")


def stored(kind: str, folder: Path) -> Path:
    tiny(kind).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


@pytest.mark.reference
def test_a_folder(folder: Path, images: rf.ArrayDataset, agrees: Agrees, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    classifier = rf.load_classifier(f"hf:{folder}")
    assert capsys.readouterr() == ("", "")
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    x = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(classifier.predict(x), tiny(kind)((x - 0.5) / 0.25).logits)
    assert (classifier.num_classes, classifier.classes) == (10, None)
    assert classifier.info.preprocessing == Preprocessing((28, 28), None, "bicubic")
    assert agrees(classifier, images.head(9))


def test_class_names_come_from_the_configuration(tmp_path: Path) -> None:
    folder = stored("resnet", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(index): f"kind {index}" for index in range(10)}
    config["label2id"] = {name: int(index) for index, name in config["id2label"].items()}
    (folder / "config.json").write_text(json.dumps(config))
    assert rf.load_classifier(f"hf:{folder}").classes == tuple(f"kind {index}" for index in range(10))


def test_a_network_of_several_labels_needs_its_task(tmp_path: Path) -> None:
    folder = stored("resnet", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"problem_type": "multi_label_classification"}))
    with pytest.raises(ModelError, match=r"got problem_type 'multi_label_classification': pass --task multilabel"):
        rf.load_classifier(f"hf:{folder}")
    assert task_of(rf.load_classifier(f"hf:{folder}", task="multilabel")) == "multilabel"
    (folder / "config.json").write_text(json.dumps(config | {"problem_type": "regression"}))
    with pytest.raises(ModelError, match=r"got problem_type 'regression': .* or correct problem_type in config\.json"):
        rf.load_classifier(f"hf:{folder}", task="multilabel")
    (folder / "config.json").write_text(json.dumps(config | {"problem_type": "single_label_classification"}))
    assert task_of(rf.load_classifier(f"hf:{folder}")) == "multiclass"


class Gadget:
    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.mark,)


def test_rejects_a_folder_of_pickles(tmp_path: Path) -> None:
    folder = stored("resnet", tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Gadget(tmp_path / "mark"), protocol=2))
    with pytest.raises(UnsafeError, match="weights in pickles are not loaded"):
        rf.load_classifier(f"hf:{folder}")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("known", [True, False])
def test_runs_no_code_of_the_repository(tmp_path: Path, known: bool) -> None:
    folder = stored("resnet", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "code.Config", "AutoModelForImageClassification": "code.Model"}
    config |= {"auto_map": names} | ({} if known else {"model_type": "nosuchtype"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'mark')!r})\n")
    with pytest.raises(UnsafeError, match="auto_map"):
        rf.load_classifier(f"hf:{folder}")
    if known:  # the remedy: transformers' own code serves
        del config["auto_map"]
        (folder / "config.json").write_text(json.dumps(config))
        assert rf.load_classifier(f"hf:{folder}").num_classes == 10
    assert not (tmp_path / "mark").exists()


def test_names_misfit_weights(tmp_path: Path) -> None:
    folder = stored("resnet", tmp_path)
    file = folder / "model.safetensors"
    state = load_file(file)
    save_file({key: value for key, value in state.items() if key != "classifier.1.bias"}, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"classifier\.1\.bias missing"):
        rf.load_classifier(f"hf:{folder}")
    save_file(state | {"classifier.1.bias": torch.full((10,), torch.nan)}, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"classifier\.1\.bias not finite"):
        rf.load_classifier(f"hf:{folder}")
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"cannot be|can be read"):
        rf.load_classifier(f"hf:{folder}")


def test_no_image_processor_needs_normalisation(tmp_path: Path) -> None:
    folder = stored("resnet", tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match="pass --mean and --std"):
        rf.load_classifier(f"hf:{folder}")
    assert rf.load_classifier(f"hf:{folder}", mean=0.5, std=0.25).info.preprocessing is None


def test_a_repository_outside_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def unreachable(*_: object, **__: object) -> None:
        raise LocalEntryNotFoundError("no network\nand nothing in the cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(ModelError, match=r"some/model must be fetched once, got none .*: run `hf download some/model`") as said:
        rf.load_classifier("hf:some/model")
    assert "\n" not in str(said.value)


def test_a_repository_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored("resnet", tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, allow_patterns: str(folder))
    assert rf.load_classifier("hf:some/model").info.spec == "hf:some/model"


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"image_mean": [0.5], "image_std": [0.25]}, ([0.5], [0.25])),
        ({"do_normalize": False, "image_mean": [0.5], "image_std": [0.5]}, ([0.0], [1.0])),
        ({"rescale_factor": 1 / 127.5, "do_normalize": True, "image_mean": [1.0], "image_std": [1.0]}, ([0.5], [0.5])),
        ({"do_rescale": False}, ([0.0], [1 / 255])),
    ],
)
def test_normalisation_in_pixel_space(processor: dict[str, Any], expected: tuple[list[float], list[float]]) -> None:
    for found, wanted in zip(normalisation_from_processor(ProcessorConfig.model_validate(processor)), expected, strict=True):
        assert found == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"size": 224}, Preprocessing((224,), None)),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224}, Preprocessing((256,), (224, 224))),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}, Preprocessing((256,), (224, 224), "bicubic")),
        ({"do_resize": False, "size": {"height": 8, "width": 8}}, Preprocessing(None, None)),
    ],
)
def test_resizing_and_cropping(processor: dict[str, Any], expected: Preprocessing) -> None:
    assert preprocessing_from_processor(ProcessorConfig.model_validate(processor)) == expected


def processor_classes() -> list[str]:
    """Return the image processors of the architectures that are loaded, each once."""
    found: set[str] = set()
    for kind in MODEL_TYPES:
        names = IMAGE_PROCESSOR_MAPPING_NAMES.get(kind) or ()
        found |= {*(names.values() if isinstance(names, dict) else [names] if isinstance(names, str) else names)} - {None}
    return sorted(found)


@pytest.mark.parametrize("name", processor_classes())
def test_images_are_prepared_as_by_the_processor_of_transformers(tmp_path: Path, name: str) -> None:
    """All steps on a colour image: a processor with other steps is refused."""
    try:
        processor = getattr(transformers, name)()
    except (AttributeError, ImportError, ValueError) as error:
        pytest.skip(f"{name} cannot be made: {error}")
    processor.save_pretrained(tmp_path)
    try:
        config = read_processor_config(tmp_path, name)
    except ModelError as error:
        assert "steps are known" in str(error)  # noqa: PT017
        assert ProcessorConfig.model_validate({"image_processor_type": name}).kind not in REFUSED_FOR_NOTHING
        return
    assert config is not None
    levels = np.random.default_rng(0).integers(0, 256, (15, 20, 3)).repeat(24, 0).repeat(24, 1).astype(np.uint8)
    pixels = torch.from_numpy(pillow_to_pixels(Image.fromarray(levels), preprocessing_from_processor(config))).float() / 255
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in normalisation_from_processor(config))
    found: Any = HuggingFaceNetwork(Shown(), flips_channels=config.flips_channels)(((pixels - mean) / std).unsqueeze(0))
    (expected,) = processor(Image.fromarray(levels), return_tensors="pt")["pixel_values"]
    assert found.shape == expected.unsqueeze(0).shape
    assert float((found - expected).abs().mean()) < 0.001


REFUSED_FOR_NOTHING = {"ViT", "ConvNext", "MobileViT", "EfficientNet", "Levit", "PoolFormer", "Bit", "CLIP"}


class Shown(torch.nn.Module):
    """Returns the images that it gets."""

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return pixel_values


@pytest.mark.parametrize("step", [{"image_processor_type": "DonutImageProcessor"}, {"rescale_offset": True}, {"do_pad": True}])
def test_other_steps_of_a_processor_are_refused(tmp_path: Path, step: dict[str, Any]) -> None:
    folder = stored("resnet", tmp_path)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | step))
    with pytest.raises(ModelError, match=r"must name an image processor whose steps are known, got .*: load the model as factory:"):
        rf.load_classifier(f"hf:{folder}")
    (folder / "preprocessor_config.json").unlink()
    assert rf.load_classifier(f"hf:{folder}", mean=0.5, std=0.25).num_classes == 10
