"""Recorded programs: refused unless trusted, and then the same attack as on the module that they came from."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.errors import ModelError, UnsafeError

Agrees = Callable[[rf.Classifier, rf.ArrayDataset], bool]


def export(network: nn.Module, file: Path, *, batch: int | None = None) -> Path:
    """batch: the only number of images that the program takes; any where it is None."""
    x = torch.rand(batch or 2, 1, 28, 28)
    shapes = None if batch else ({0: torch.export.Dim("n")},)
    torch.export.save(torch.export.export(network, (x,), dynamic_shapes=shapes), file)
    return file


def script(network: nn.Module, file: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch advises against it, and users have such files
        torch.jit.trace(network, torch.rand(2, 1, 28, 28)).save(str(file))  # type: ignore[no-untyped-call]
    return file


def attack(classifier: rf.Classifier, images: rf.ArrayDataset) -> torch.Tensor:
    """Predicted classes of adversarial images."""
    batch = next(images.batches(0, 30, 30))
    return classifier.predict(rf.fgsm(classifier, batch.images, batch.labels, 8 / 255)).argmax(1)


@pytest.mark.reference
@pytest.mark.parametrize("batch", [None, 1, 4, 7])
def test_an_exported_program_matches_its_module(
    difficult: nn.Module, tmp_path: Path, images: rf.ArrayDataset, agrees: Agrees, batch: int | None
) -> None:
    file = export(difficult, tmp_path / "net.pt2", batch=batch)
    classifier = rf.load_classifier(str(file), trust_model_code=True)
    assert (classifier.num_classes, classifier.info.spec) == (10, str(file))
    assert torch.equal(attack(classifier, images), attack(rf.wrap(difficult, 10), images))
    assert agrees(classifier, images.head(9))


def test_no_images_at_all(difficult: nn.Module, tmp_path: Path) -> None:
    file = export(difficult, tmp_path / "net.pt2", batch=4)
    classifier = rf.load_classifier(str(file), trust_model_code=True, num_classes=10)
    assert classifier.predict(torch.rand(5, 1, 28, 28)).shape == (5, 10)


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_torchscript_matches_its_module(difficult: nn.Module, tmp_path: Path, images: rf.ArrayDataset, agrees: Agrees) -> None:
    file = script(difficult, tmp_path / "net.pt")
    classifier = rf.load_classifier(str(file), trust_model_code=True, num_classes=10)
    assert torch.equal(attack(classifier, images), attack(rf.wrap(difficult, 10), images))
    assert agrees(classifier, images.head(9))
    with pytest.raises(ModelError, match="pass --num-classes"):
        rf.load_classifier(str(file), trust_model_code=True)


def test_accepts_normalisation(difficult: nn.Module, tmp_path: Path) -> None:
    file, x = export(difficult, tmp_path / "net.pt2"), torch.rand(3, 1, 28, 28)
    plain = rf.load_classifier(str(file), trust_model_code=True)
    normalised = rf.load_classifier(str(file), trust_model_code=True, mean=0.5, std=0.25)
    assert torch.equal(normalised.predict(x), plain.predict((x - 0.5) / 0.25))
    assert normalised.info.sha256 != plain.info.sha256


def test_programs_are_refused_without_trust(difficult: nn.Module, tmp_path: Path) -> None:
    for file in (export(difficult, tmp_path / "net.pt2"), script(difficult, tmp_path / "net.pt")):
        with pytest.raises(UnsafeError, match="pass --trust-model-code only if you know who made it"):
            rf.load_classifier(str(file))


class Gadget:
    """Makes a directory when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("name", ["net.pt2", "net.pt", "net.pth"])
def test_runs_no_pickle_of_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Gadget(tmp_path / "mark"), protocol=2))
    with pytest.raises(UnsafeError):
        rf.load_classifier(str(tmp_path / name))
    assert not (tmp_path / "mark").exists()


def test_a_state_dict_is_no_model(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "net.pt")
    with pytest.raises(ModelError, match=r"pass --model ARCHITECTURE --weights .*net\.pt"):
        rf.load_classifier(str(tmp_path / "net.pt"))


def test_rejects_a_program_in_train_mode(difficult: nn.Module, tmp_path: Path) -> None:
    import copy

    file = export(copy.deepcopy(difficult).train(), tmp_path / "net.pt2")
    with pytest.raises(ModelError, match=r"exported in train mode .*: call \.eval\(\) before"):
        rf.load_classifier(str(file), trust_model_code=True)


@pytest.mark.parametrize("make", [export, script])
@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_damage_is_noticed(difficult: nn.Module, tmp_path: Path, make: Callable[..., Path], damage: str) -> None:
    file = make(difficult, tmp_path / ("net.pt2" if make is export else "net.pt"))
    content = bytearray(file.read_bytes())
    weights = max((parameter.detach().numpy().tobytes() for parameter in difficult.parameters()), key=len)
    content[content.index(weights) + 3] ^= 64
    file.write_bytes(content if damage == "flipped" else content[:-100])
    with pytest.raises(rf.RfgsmError, match=r"Bad CRC-32|other bytes before the first member|is none|not a zip file"):
        rf.load_classifier(str(file), num_classes=3, trust_model_code=True)


@pytest.mark.parametrize("name", ["net.pt2", "net.pt"])
def test_a_missing_or_damaged_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        rf.load_classifier(str(tmp_path / name), trust_model_code=True)
    (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(50))
    with pytest.raises(ModelError, match=r"cannot be read|archive of torch"):
        rf.load_classifier(str(tmp_path / name), trust_model_code=True)
