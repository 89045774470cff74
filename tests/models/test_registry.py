"""Which source a spec belongs to, also one of another package."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.registry import MODEL_SOURCES, find_model_source, runs_code

THIRD = SimpleNamespace(load=lambda request: rf.wrap(nn.Flatten(), int(request.name)))


class Point(EntryPoint):
    """An entry point of a package that is not there."""

    def load(self) -> Any:
        return THIRD


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [Point(name, f"{name}.module", MODEL_SOURCES.group) for name in ("flat", "hf")]
    monkeypatch.setattr("robustbench_fgsm.registry.entry_points", lambda group: points if group == MODEL_SOURCES.group else [])


@pytest.mark.usefixtures("third")
def test_another_packages_source() -> None:
    assert rf.load_classifier("flat:4").predict(torch.rand(2, 1, 2, 2)).shape == (2, 4)
    assert MODEL_SOURCES.entries()["flat"].example == "flat:NAME"


@pytest.mark.usefixtures("third")
def test_built_in_sources_have_priority() -> None:
    entry, name = find_model_source("hf:some/model")
    assert entry is MODEL_SOURCES.entries()["hf"] is MODEL_SOURCES.built_in["hf"]
    assert name == "some/model"


def test_an_unknown_source_shows_a_remedy() -> None:
    with pytest.raises(ModelError, match=r"`rfgsm list models`, got 'tim': did you mean timm\?"):
        rf.load_classifier("tim:resnet18")


def test_missing_package_shows_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(MODEL_SOURCES.built_in["timm"], package="no-such-package")
    monkeypatch.setitem(MODEL_SOURCES.built_in, "timm", entry)
    with pytest.raises(
        ModelError, match=r"timm:NAME needs the package no-such-package, .*: pip install 'robustbench-fgsm\[timm\]'"
    ):
        rf.load_classifier("timm:resnet18")


@pytest.mark.parametrize(
    ("spec", "runs"),
    [
        ("factory:mine.py:make", True),
        ("net.pt2", True),
        ("folder/NET.PT2", True),
        ("net.pt", True),
        ("net.onnx", False),
        ("hf:a/b", False),
        ("resnet18", False),
    ],
)
def test_sources_that_run_code(spec: str, runs: bool) -> None:
    assert runs_code(spec) == runs
