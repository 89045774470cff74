"""Libraries beside ART, where they are installed: each agrees under the settings that are meant to."""

from __future__ import annotations

import importlib.metadata

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.references.registry import REFERENCES, check_references, load_reference
from robustbench_fgsm.spec import AttackSpec, TargetRule

pytestmark = pytest.mark.reference

OTHERS = [
    pytest.param(name, marks=pytest.mark.skipif(entry.installed_version is None, reason=f"{name} is not installed"))
    for name, entry in REFERENCES.built_in.items()
    if name != "art"
]


@pytest.mark.parametrize("model", ["resnet18", "smallcnn", "mlp300"])
@pytest.mark.parametrize("name", OTHERS)
def test_agrees_under_linf(name: str, model: str, images: rf.ArrayDataset) -> None:
    found = rf.compare(rf.load_classifier(model), images.head(100), references=[name], batch_size=64)
    assert found.verdict == "agree"
    assert found.references[0].version == REFERENCES.built_in[name].installed_version
    assert found.references[0].timed_tally.tally.robust_accuracy == found.ours.tally.robust_accuracy


@pytest.mark.parametrize("name", OTHERS)
def test_agrees_targeted(name: str, images: rf.ArrayDataset) -> None:
    classifier = rf.load_classifier("smallcnn")
    if name == "foolbox":
        with pytest.raises(rf.SettingError, match="no targeted FGSM"):
            rf.compare(classifier, images, targeted="next", references=[name])
    else:
        assert rf.compare(classifier, images, targeted="next", references=[name], batch_size=64).verdict == "agree"


@pytest.mark.parametrize("name", OTHERS)
def test_agrees_under_l2(name: str, images: rf.ArrayDataset) -> None:
    classifier = rf.load_classifier("smallcnn")
    if name == "torchattacks":
        with pytest.raises(rf.SettingError, match="comparable under norm inf"):
            rf.compare(classifier, images, 1.0, norm=2, references=[name])
    else:
        found = rf.compare(classifier, images, 1.0, norm=2, references=[name], ignore=["floor"])
        assert found.verdict == "agree"
        assert found.references[0].agreement.images_subnormal < 0.2 * len(images)


@pytest.mark.parametrize("name", OTHERS)
def test_works_on_a_copied_network(name: str) -> None:
    torch.manual_seed(0)
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Dropout()), 3)
    reference = load_reference(name, classifier, AttackSpec(target=TargetRule()), 4)
    x_adv = reference.fgsm(torch.rand(5, 1, 4, 4), torch.tensor([0, 1, 2, 0, 1]), 0.1)
    assert x_adv.shape == (5, 1, 4, 4)
    assert not x_adv.requires_grad
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in classifier.network.parameters())


def test_missing_library_shows_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("robustbench_fgsm.registry.version", missing)
    with pytest.raises(rf.SettingError, match="foolbox needs the package foolbox, got none installed: pip install foolbox"):
        check_references(["foolbox"])
    with pytest.raises(rf.SettingError, match="pip install --no-deps cleverhans"):
        check_references(["cleverhans"])


def test_names() -> None:
    assert check_references([" art", "art "]) == ["art"]
    assert set(REFERENCES.built_in) == {"art", "foolbox", "torchattacks", "cleverhans"}
    with pytest.raises(rf.SettingError, match="did you mean art"):
        check_references(["arts"])
