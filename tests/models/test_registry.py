"""Which source a spec belongs to, also one of another package."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models import registry
from robustbench_fgsm.models.registry import find_source_info, model_sources, runs_code
from robustbench_fgsm.models.request import ModelRequest

THIRD = SimpleNamespace(load=lambda request: rf.wrap(nn.Flatten(), int(request.name)))


class Point(EntryPoint):
    """An entry point of a package that is not there."""

    def load(self) -> Any:
        return THIRD


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        Point("flat", "nosuch.module", registry.MODEL_ENTRY_POINT_GROUP),
        Point("hf", "evil.module", registry.MODEL_ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.MODEL_ENTRY_POINT_GROUP else [])


@pytest.mark.usefixtures("third")
def test_another_packages_source() -> None:
    assert rf.load_classifier("flat:4").predict(torch.rand(2, 1, 2, 2)).shape == (2, 4)
    assert ("flat", "flat:NAME") in [(name, card.example) for name, card in model_sources()]


@pytest.mark.usefixtures("third")
def test_no_package_takes_the_place_of_a_built_in_source() -> None:
    card, name = find_source_info("hf:some/model")
    assert card is not None
    assert (card.module, name) == ("robustbench_fgsm.models.sources.huggingface", "some/model")
    assert [name for name, _ in model_sources()].count("hf") == 1


def test_an_unknown_source_is_named_with_a_remedy() -> None:
    with pytest.raises(ModelError, match=r"must be of timm, .*, got 'tim': did you mean timm\?"):
        rf.load_classifier("tim:resnet18")


def test_a_missing_package_is_named_with_the_line_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    card = replace(registry.SOURCES_BY_PREFIX["timm"], package="no-such-package")
    monkeypatch.setitem(registry.SOURCES_BY_PREFIX, "timm", card)
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
def test_what_runs_code(spec: str, runs: bool) -> None:
    assert runs_code(spec) == runs


def test_every_source_exists_and_each_extra_is_declared() -> None:
    import tomllib

    declared = tomllib.loads((Path(registry.__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for _, card in model_sources():
        if card.module.startswith(registry.SOURCES_PACKAGE):
            name = card.module.rpartition(".")[2]
            assert (Path(registry.__file__).parent / "sources" / f"{name}.py").is_file()
            assert not card.extra or card.extra in declared["optional-dependencies"]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"num_classes": 1}, "num classes must be at least 2, got 1"),
        ({"mean": float("nan")}, "mean must be finite numbers"),
        ({"std": [0.5, 0.0]}, "std must be positive in every channel"),
        ({"bounds": (1.0, 0.0)}, "bounds must be low and high, got 1 and 0: try 0,1"),
    ],
)
def test_settings_that_cannot_be_meant(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(rf.SettingError, match=problem):
        ModelRequest("x", "x", **said)
