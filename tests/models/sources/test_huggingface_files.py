"""Files of a Hugging Face folder: what names code or further files is refused, and a wrong value is named in one line."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.errors import InputError, UnsafeError

transformers = pytest.importorskip("transformers")

from tests.models.sources.test_huggingface import Gadget, stored  # noqa: E402

Change = Callable[[str, dict[str, Any]], Path]


@pytest.fixture
def change(tmp_path: Path) -> Change:
    """Store a network, and change values of one of its JSON files."""
    folder = stored("vit", tmp_path / "model")

    def changed(name: str, values: dict[str, Any]) -> Path:
        file = folder / name
        file.write_text(json.dumps((json.loads(file.read_text()) if file.exists() else {}) | values))
        return folder

    return changed


REFUSED: dict[str, dict[str, Any]] = {
    "timm wrapper": {"model_type": "timm_wrapper", "architecture": "resnet18"},
    "timm checkpoint": {"model_type": "timm_wrapper", "architecture": "resnet18", "model_args": {"checkpoint_path": "MARK.pt"}},
    "quantised": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    "kernel": {"attn_implementation": "stranger/kernel"},
    "internal kernel": {"_attn_implementation_internal": "stranger/kernel"},
    "trusted kernel": {"_attn_implementation": "kernels-community/flash-attn"},
    "kernel of a part": {"vision_config": {"_attn_implementation": "stranger/kernel"}},
    "experts": {"_experts_implementation": "stranger/kernel"},
    "other weights": {"transformers_weights": "../other.safetensors"},
    "own code": {"auto_map": {"AutoModelForImageClassification": "code.Model"}},
    "remote code": {"trust_remote_code": True},
    "backbone": {"use_timm_backbone": True, "backbone": "resnet18"},
    "timm inside": {"backbone_config": {"model_type": "timm_backbone"}},
    "language model": {"model_type": "llama"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_loads_code_or_files(name: str, change: Change, tmp_path: Path) -> None:
    (tmp_path / "MARK.pt").write_bytes(pickle.dumps(Gadget(tmp_path / "mark"), protocol=2))
    values = json.loads(json.dumps(REFUSED[name]).replace("MARK.pt", str(tmp_path / "MARK.pt")))
    with pytest.raises(UnsafeError, match=r"must (name no code|be an architecture)"):
        rf.load_classifier(f"hf:{change('config.json', values)}")
    assert not (tmp_path / "mark").exists()


def test_keys_without_a_value_load(change: Change) -> None:
    values = {"use_timm_backbone": False, "_attn_implementation": "eager", "backbone": None}
    assert rf.load_classifier(f"hf:{change('config.json', values)}").num_classes == 10


def test_refuses_an_adapter_and_code_of_a_processor(change: Change) -> None:
    folder = change("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "code.Processor"}})
    with pytest.raises(UnsafeError, match="auto_map"):
        rf.load_classifier(f"hf:{folder}")
    folder = change("adapter_config.json", {"base_model_name_or_path": "stranger/model"})
    with pytest.raises(UnsafeError, match=r"adapter_config\.json, which names another model"):
        rf.load_classifier(f"hf:{folder}")


def test_refuses_weights_outside_the_folder(change: Change) -> None:
    folder = change("model.safetensors.index.json", {"weight_map": {"classifier.weight": "../other.safetensors"}})
    with pytest.raises(InputError, match=r"index\.json must have a valid weight_map\.classifier\.weight"):
        rf.load_classifier(f"hf:{folder}")


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("config.json", "num_channels", "3"),
        ("config.json", "num_channels", -1),
        ("config.json", "num_channels", True),
        ("config.json", "id2label", {"0": 5}),
        ("config.json", "id2label", {"0": "a", "7": "b"}),
        ("config.json", "id2label", ["a", "b"]),
        ("config.json", "model_type", 5),
        ("config.json", "num_hidden_layers", 100_000),
        ("config.json", "hidden_size", 2**40),
        ("preprocessor_config.json", "image_mean", 0.5),
        ("preprocessor_config.json", "image_mean", []),
        ("preprocessor_config.json", "image_std", [0]),
        ("preprocessor_config.json", "image_std", None),
        ("preprocessor_config.json", "resample", 9),
        ("preprocessor_config.json", "resample", "bilinear"),
        ("preprocessor_config.json", "rescale_factor", 0),
        ("preprocessor_config.json", "do_rescale", "no"),
        ("preprocessor_config.json", "size", {"height": 10**9, "width": 1}),
        ("preprocessor_config.json", "size", {"longest_edge": 224}),
        ("preprocessor_config.json", "crop_pct", -1),
    ],
)
def test_names_the_wrong_field(change: Change, file: str, field: str, value: object) -> None:
    folder = change(file, {field: value})
    with pytest.raises(InputError, match=rf"{file} must have a valid .*{field}"):
        rf.load_classifier(f"hf:{folder}")


@pytest.mark.parametrize("values", [{"hidden_size": 2**20}, {"id2label": {str(k): "x" for k in range(200_000)}}])
def test_claimed_sizes_are_compared_with_the_files(change: Change, values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"must hold the [\d,]+ parameters of the network"):
        rf.load_classifier(f"hf:{change('config.json', values)}")


@pytest.mark.parametrize("values", [{"patch_size": 0}, {"num_attention_heads": 0}, {"hidden_act": 7}, {"image_size": "big"}])
def test_whatever_the_architecture_raises_is_one_line(change: Change, values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="cannot be loaded") as said:
        rf.load_classifier(f"hf:{change('config.json', values)}")
    assert "\n" not in str(said.value)
