"""Commands on a network of images from 0 to 255: budgets, data and hints are in these units."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import robustbench_fgsm as rf

Run = Callable[..., tuple[int, str, str]]

NETWORK = """
import torch
from torch import nn
import robustbench_fgsm as rf

def make():
    bare = rf.load_classifier("mlp300", data="fashion-mnist").copy_network()
    return rf.models.classifier.PixelSpaceNetwork(bare, 0.0, 255.0)
"""
IMAGES = 96


@pytest.fixture(scope="module")
def counts() -> tuple[int, int]:
    """Return the images that are right before and after a plain loop's attack by 8 levels."""
    batch = next(rf.load_data("fashion-mnist").batches(0, IMAGES, IMAGES))
    classifier = rf.load_classifier("mlp300", data="fashion-mnist")
    assert isinstance(classifier, rf.TorchClassifier)
    network = classifier.copy_network()
    x = (batch.images * 255).round().requires_grad_()
    logits = network(x / 255)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, batch.labels, reduction="sum"), x)
    x_adv = (x + 8 * gradient.sign()).clamp(0, 255)
    return int((logits.argmax(1) == batch.labels).sum()), int((network(x_adv / 255).argmax(1) == batch.labels).sum())


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    (tmp_path / "net.py").write_text(NETWORK)
    return ["--data", "fashion-mnist", "--limit", str(IMAGES), "--bounds", "0,255", "--num-classes", "10"]


def model(tmp_path: Path) -> list[str]:
    return ["--model", f"factory:{tmp_path / 'net.py'}:make"]


@pytest.mark.parametrize("stored", ["fashion-mnist", "uint8", "float32"])
def test_evaluate_counts_as_a_plain_loop(
    run: Run, tmp_path: Path, settings: list[str], counts: tuple[int, int], stored: str
) -> None:
    batch = next(rf.load_data("fashion-mnist").batches(0, IMAGES, IMAGES))
    levels = (batch.images * 255).round().numpy()
    np.savez(tmp_path / "data.npz", images=levels.astype("uint8" if stored == "uint8" else "float32"), labels=batch.labels.numpy())
    data = [] if stored == "fashion-mnist" else ["--data", f"npz:{tmp_path / 'data.npz'}"]
    code, out, err = run("evaluate", *model(tmp_path), *settings, *data, "--eps", "8", "--json")
    assert code == 0, err
    found = json.loads(out)
    at = found["epsilons"][0]
    assert (found["attack"]["bounds"], at["epsilon"], found["n"]) == ([0.0, 255.0], 8.0, IMAGES)
    assert (found["clean"]["accuracy"]["count"], at["robust_accuracy"]["count"]) == counts


def test_sweep_and_transfer_count_as_evaluate(run: Run, tmp_path: Path, settings: list[str], counts: tuple[int, int]) -> None:
    _, out, _ = run("sweep", *model(tmp_path), *settings, "--eps", "4,8", "--json")
    assert json.loads(out)["evaluations"][0]["epsilons"][1]["robust_accuracy"]["count"] == counts[1]
    _, out, _ = run("transfer", "--source", model(tmp_path)[1], *settings, "--eps", "8", "--json")
    found = json.loads(out)
    assert (found["attack"]["bounds"], found["n"]) == ([0.0, 255.0], IMAGES)


@pytest.mark.reference
def test_compare_agrees_with_art(run: Run, tmp_path: Path, settings: list[str], counts: tuple[int, int]) -> None:
    code, out, err = run("compare", *model(tmp_path), *settings, "--eps", "8", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["attack"]["bounds"], found["ours"]["robust_accuracy"]["count"]) == ([0.0, 255.0], counts[1])


def test_saved_images_are_those_of_the_attack(run: Run, tmp_path: Path, settings: list[str]) -> None:
    code, out, err = run("attack", *model(tmp_path), *settings, "--eps", "8", "--json", "--out", str(tmp_path / "saved"))
    assert code == 0, err
    assert json.loads(out)["attack"]["bounds"] == [0.0, 255.0]
    code, _, err = run("attack", "--check", str(tmp_path / "saved"), "--trust-model-code")
    assert code == 0, err


@pytest.mark.parametrize("command", ["evaluate", "sweep", "attack", "compare"])
def test_a_budget_in_the_units_of_0_1_is_named(run: Run, tmp_path: Path, settings: list[str], command: str) -> None:
    words = [command, *model(tmp_path), *settings, "--out", str(tmp_path / "out")]
    options = ["--references", "none", "--candidate", f"{tmp_path / 'own.py'}:attack"] if command == "compare" else []
    (tmp_path / "own.py").write_text("import robustbench_fgsm as rf\ndef attack(model, x, y, epsilon):\n    return x\n")
    _, out, _ = run(*words, *options, "--eps", "8/255", "--json")
    (warning,) = [text for text in json.loads(out)["warnings"] if "8-bit level" in text]
    assert "write 8 for 8/255" in warning
    _, out, _ = run(*[*words[:-1], str(tmp_path / "again")], *options, "--eps", "8", "--json")
    assert not any("8-bit level" in text for text in json.loads(out)["warnings"])


def test_a_budget_above_the_bounds_is_refused_before_the_run(run: Run, tmp_path: Path, settings: list[str]) -> None:
    code, _, err = run("evaluate", *model(tmp_path), *settings, "--eps", "256")
    assert (code, "must lie in [0, 255]" in err) == (2, True)


def test_levels_of_saved_candidates_are_put_into_the_bounds(run: Run, tmp_path: Path, settings: list[str]) -> None:
    levels = (next(rf.load_data("fashion-mnist").batches(0, IMAGES, IMAGES)).images * 255).round()
    np.savez(tmp_path / "adv.npz", images=levels.numpy().astype(np.uint8))
    own = ["--references", "none", "--candidate", str(tmp_path / "adv.npz"), "--eps", "0", "--json"]
    code, out, err = run("compare", *model(tmp_path), *settings, *own)
    assert (code, json.loads(out)["candidate"]["max_abs_difference"]) == (0, 0.0), err
