"""References that other packages add: found by their entry points, imported when they are named, refused in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.references.registry import REFERENCES, check_references, load_reference
from robustbench_fgsm.spec import AttackSpec

Install = Callable[..., Path]

PLAIN = """
from math import inf

import torch

from robustbench_fgsm.references.batched_reference import BatchedReference, reference_network


def prepare(classifier, spec, batch_size):
    network = reference_network("plain", classifier, spec, (inf,), targeted=False)

    def craft(images, labels, epsilon):
        images = images.clone().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(network(images), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, images)
        return (images + epsilon * gradient.sign()).clamp(*spec.bounds)

    return BatchedReference("plain", "2.5", network, craft, batch_size, classifier.device)


class Maker:
    @staticmethod
    def prepare(classifier, spec, batch_size):
        return prepare(classifier, spec, batch_size)


class Incomplete:
    @staticmethod
    def prepare(classifier, spec, batch_size):
        return object()


class Lacking:
    @staticmethod
    def prepare(classifier, spec, batch_size):
        import a_library_that_is_gone
"""


def test_compares_an_object_of_another_package(install: Install, classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    install("plain-fgsm", "plain_fgsm", PLAIN, plain="plain_fgsm", made="plain_fgsm:Maker")
    found = rf.compare(classifier, images, references=["plain", " made"])
    assert [reference.verdict for reference in found.references] == ["agree", "agree"]
    assert [(reference.name, reference.version) for reference in found.references] == [("plain", "2.5")] * 2
    assert found.references[0].to_dict(found.classes, found.ours.seconds)["own_success"] is None


def test_listing_imports_no_reference(install: Install) -> None:
    install("plain-fgsm", "plain_fgsm", "raise SystemExit('imported')", plain="plain_fgsm")
    *_, last = REFERENCES.entries().values()
    assert (last.name, last.package, last.installed_version) == ("plain", "plain-fgsm", "2.5")
    assert "plain_fgsm" not in sys.modules


def test_suggests_an_installed_name(install: Install) -> None:
    install("plain-fgsm", "plain_fgsm", PLAIN, plain="plain_fgsm")
    assert check_references(["plain"]) == ["plain"]
    with pytest.raises(rf.SettingError, match=r"`rfgsm list references`, got 'plane': did you mean plain\?"):
        check_references(["plane"])


@pytest.mark.reference
def test_a_built_in_name_wins(install: Install, classifier: rf.TorchClassifier) -> None:
    install("impostor", "impostor", "raise SystemExit('imported')", art="impostor")
    assert REFERENCES.entries()["art"].package == "adversarial-robustness-toolbox"
    assert type(load_reference("art", classifier, AttackSpec(), 8)).__name__ == "ArtReference"


@pytest.mark.parametrize(
    ("source", "value", "message"),
    [
        ("import a_library_that_is_gone", "broken", "got ModuleNotFoundError: No module named 'a_library_that_is_gone'"),
        ("raise OSError('first line\\nsecond line')", "broken", "got OSError: first line second line"),
        ("prepare = = 1", "broken", "got SyntaxError"),
        ("", "broken:nothing", "got AttributeError"),
        ("", "broken", r"must have a function prepare\(classifier, spec, batch_size\), got none in broken"),
    ],
)
def test_names_a_failed_import(install: Install, source: str, value: str, message: str) -> None:
    install("broken-fgsm", "broken", source, broken=value)
    with pytest.raises(rf.SettingError, match=message) as refused:
        check_references(["broken"])
    assert "fix or uninstall" in str(refused.value)
    assert "broken-fgsm" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rejects_an_incomplete_reference(install: Install, classifier: rf.TorchClassifier) -> None:
    install("plain-fgsm", "plain_fgsm", PLAIN, incomplete="plain_fgsm:Incomplete", lacking="plain_fgsm:Lacking")
    with pytest.raises(rf.SettingError, match=r"incomplete must have name, version, norm_floor, .*, predict, fgsm"):
        load_reference("incomplete", classifier, AttackSpec(), 8)
    with pytest.raises(rf.SettingError, match=r"lacking must import its library, .* 'a_library_that_is_gone'"):
        load_reference("lacking", classifier, AttackSpec(), 8)


def test_images_of_another_shape_are_refused(install: Install, classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    install("flat-fgsm", "flat_fgsm", PLAIN.replace(".clamp(*spec.bounds)", ".flatten(1)"), flat="flat_fgsm")
    with pytest.raises(rf.ModelError, match=r"must return images of shape \(256, 1, 28, 28\), got \(256, 784\)"):
        rf.compare(classifier, images, references=["flat"])


def test_listing_loads_no_torch() -> None:
    script = "import sys; from robustbench_fgsm.references import registry\n"
    script += "registry.REFERENCES.entries(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
