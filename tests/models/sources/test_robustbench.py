"""RobustBench's zoo: its architectures, and checkpoints in its cache that are read as tensors alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.errors import ModelError, SettingError, UnsafeError
from robustbench_fgsm.models.sources import robustbench as source

if find_spec("robustbench") is None:
    pytest.skip("robustbench is not installed", allow_module_level=True)

Agrees = Callable[[rf.Classifier, rf.ArrayDataset], bool]
SMALL = "Wong2020Fast"
"""A PreActResNet-18 for CIFAR-10, whose checkpoint lacks the constants of its normalisation."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where RobustBench keeps the checkpoint, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models" / "cifar10" / "Linf"
    folder.mkdir(parents=True)
    return folder / f"{SMALL}.pt"


@pytest.mark.reference
@pytest.mark.parametrize("prefix", ["", "module.", "module.model."])
def test_a_cached_checkpoint(place: Path, prefix: str, agrees: Agrees, colour: Callable[..., rf.ArrayDataset]) -> None:
    torch.manual_seed(0)
    bare = rf.load_classifier(f"robustbench:{SMALL}", weights="none")
    assert isinstance(bare, rf.TorchClassifier)
    state = bare.network.network.state_dict()  # type: ignore[union-attr]
    kept = {f"{prefix}{key}": value for key, value in state.items() if key not in ("mu", "sigma")}
    torch.save({"state_dict": kept}, place)
    classifier = rf.load_classifier(f"robustbench:{SMALL}", dataset="cifar10", threat_model="Linf")
    assert classifier.info.sha256 == bare.info.sha256
    assert (classifier.num_classes, classifier.info.mean) == (10, None)
    assert classifier.info.settings == {"dataset": "cifar10", "threat_model": "Linf"}
    if not prefix:
        assert agrees(classifier, colour())


class Gadget:
    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.mark,)


def test_runs_no_cached_pickle(place: Path) -> None:
    torch.save({"state_dict": {"w": Gadget(place.parent / "mark")}}, place)
    with pytest.raises(UnsafeError):
        rf.load_classifier(f"robustbench:{SMALL}")
    assert not (place.parent / "mark").exists()


def test_a_missing_checkpoint_shows_its_place(place: Path) -> None:
    with pytest.raises(ModelError, match=rf"fetch https://drive.google.com/\S+ and put it at models/cifar10/Linf/{SMALL}\.pt"):
        rf.load_classifier(f"robustbench:{SMALL}")


def test_names_a_misfit_checkpoint(place: Path) -> None:
    torch.save({"w": torch.ones(1)}, place)
    with pytest.raises(ModelError, match=r"w unexpected"):
        rf.load_classifier(f"robustbench:{SMALL}")


def test_rejects_unknown_names() -> None:
    with pytest.raises(ModelError, match=r"one for cifar10 and Linf, got 'Wong2020Fst': did you mean Wong2020Fast"):
        rf.load_classifier("robustbench:Wong2020Fst")
    with pytest.raises(ModelError, match="an ensemble: use a factory"):
        rf.load_classifier("robustbench:Chen2020Adversarial")
    with pytest.raises(SettingError, match=r"dataset must be one of cifar10, cifar100, imagenet, got 'cifar'"):
        rf.load_classifier(f"robustbench:{SMALL}", dataset="cifar")
    with pytest.raises(SettingError, match=r"threat model for cifar100 must be one of Linf, corruptions, got 'L2'"):
        rf.load_classifier(f"robustbench:{SMALL}", dataset="cifar100", threat_model="L2")


def test_lists_cached_checkpoints(place: Path) -> None:
    place.write_bytes(b"1234567")
    found = {(name.spec, name.weights): name for name in source.names()}
    assert found[f"robustbench:{SMALL}", "cifar10 Linf"].size == 7
    assert found[f"robustbench:{SMALL}", "imagenet Linf"].on_disk is False
