"""Names of models are known without torch."""

from __future__ import annotations

import pytest
from torchvision import models

import robustbench_fgsm as rf
from robustbench_fgsm.models.architectures import ARCHITECTURES
from robustbench_fgsm.models.names import (
    BUNDLED_NAMES,
    check_model,
    check_timm_name,
    check_torchvision_weights,
    registered_names,
    split_model_and_weights,
    torchvision_names,
)


def test_the_source_of_torchvision_registers_what_torchvision_lists() -> None:
    assert list(torchvision_names()) == sorted(models.list_models(module=models))


def test_the_source_of_torchvision_names_its_weights() -> None:
    for name in torchvision_names():
        known = models.get_model_weights(name).__members__
        for weights in ("auto", "none", *known):
            check_torchvision_weights(name, weights)
        with pytest.raises(rf.ModelError, match=f"auto, none, {', '.join(known)}, .*or a checkpoint .*, got 'nosuch': choose from"):
            check_torchvision_weights(name, "nosuch")


def test_the_source_of_timm_registers_what_timm_lists() -> None:
    timm = pytest.importorskip("timm")
    assert list(registered_names("timm")) == sorted(timm.list_models())
    for name in (*timm.list_pretrained(), "tv_resnet50", "adv_inception_v3"):
        check_timm_name(name)
    with pytest.raises(rf.ModelError, match=r"got 'resnet1888\.a1_in1k': did you mean resnet18"):
        check_timm_name("resnet1888.a1_in1k")


def test_bundled_names_are_those_of_the_architectures() -> None:
    assert list(BUNDLED_NAMES) == list(ARCHITECTURES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mlp30", "did you mean mlp300"),
        ("densenet12", "densenet121"),
        ("qqqqq", "SOURCE:NAME"),
        ("a/net.keras", "pass keras:a/net.keras"),
        ("net.SKOPS", "pass sklearn:net.SKOPS"),
        ("net.py:build", "did you mean factory:net.py:build"),
    ],
)
def test_rejects_an_unknown_name(name: str, message: str) -> None:
    with pytest.raises(rf.ModelError, match=message):
        check_model(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp300", ("mlp300", "auto")),
        ("smallcnn:robust", ("smallcnn", "robust")),
        ("mlp300:runs/mine", ("mlp300", "runs/mine")),
        ("timm:resnet18", ("timm:resnet18", "auto")),
        ("torchvision:resnet18:IMAGENET1K_V1", ("torchvision:resnet18", "IMAGENET1K_V1")),
        ("bundled:mlp300:standard", ("bundled:mlp300", "standard")),
        ("resnet50:IMAGENET1K_V1", ("resnet50", "IMAGENET1K_V1")),
        ("sklearn:a:b.skops", ("sklearn:a:b.skops", "auto")),
        ("hf:some/model", ("hf:some/model", "auto")),
        ("factory:my.models:make", ("factory:my.models:make", "auto")),
        ("mine.onnx", ("mine.onnx", "auto")),
    ],
)
def test_weights_follow_a_colon(name: str, expected: tuple[str, str]) -> None:
    assert split_model_and_weights(name) == expected
