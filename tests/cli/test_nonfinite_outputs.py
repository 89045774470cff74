"""Networks whose outputs are not finite, in every command: counted apart, neither right nor fooled, and the run is invalid."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.attack.gradient import predicted_classes

Run = Callable[..., tuple[int, str, str]]
IMAGES = 40

FILE = """
import math
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(16, 3, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(torch.linspace(-2, 2, 48).reshape(16, 3).sin().T)

    def forward(self, x):
        flat = x.flatten(1)
        z = self.linear(flat)
        marked = flat[:, :1] > 0.7  # a third of the images
        moved = ((4 * flat).round() - 4 * flat).abs().amax(1, keepdim=True) > 1e-3  # clean pixels are quarters
        if self.kind == "finite":
            return z
        if self.kind == "nan before":
            return z.masked_fill(marked, math.nan)
        if self.kind == "nan after":
            return z.masked_fill(marked & moved, math.nan)
        if self.kind == "infinite after":
            return z.masked_fill(marked & moved, math.inf)
        if self.kind == "overflow":
            large = (z.abs() + 1) * marked * 1e38 * 1e3
            return z + large - large
        if self.kind == "one infinity":
            return torch.where(marked & (torch.arange(3) == 0), math.inf, z)
        if self.kind == "last batch":
            return z.masked_fill(torch.tensor(len(x) == 8), math.nan)
        return z * math.nan  # all

def {name}():
    return Net("{kind}")
"""

PARTIAL = ("nan before", "nan after", "infinite after", "overflow", "one infinity", "last batch")
KINDS = (*PARTIAL, "all")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images whose pixels are quarters: a third of them is marked by its first pixel."""
    file = tmp_path_factory.mktemp("data") / "quarters.npz"
    generator = np.random.default_rng(0)
    pixels = generator.integers(1, 4, (IMAGES, 1, 4, 4)).astype(np.float32) / 4
    np.savez(file, images=pixels, labels=generator.integers(0, 3, IMAGES))
    return file


def factory(folder: Path, kind: str) -> str:
    """A file whose function makes a network of that kind."""
    name = kind.replace(" ", "_")
    (folder / f"{name}.py").write_text(FILE.replace("{name}", name).replace("{kind}", kind))
    return f"factory:{folder / f'{name}.py'}:{name}"


COMMANDS = ("evaluate", "sweep", "compare", "attack", "attack --save-as png", "transfer", "benchmark", "explain")
WORDS = {
    "sweep": ["--eps", "1/255,8/255", "--targeted", "none", "--targeted", "next"],
    "attack --save-as png": ["--save-as", "png"],
    "benchmark": ["--rounds", "1", "--references", "art", "--levels", "none", "--no-memory"],
}


def call(run: Run, command: str, model: str, images: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, document and standard error of one command."""
    name, own = command.split()[0], WORDS.get(command, [])
    models = ["--source", model, "--target", model] if name == "transfer" else ["--model", model]
    value = ["0.5"] if name == "explain" else []
    size = ["--batch-size", "16", "--num-classes", "3"]
    code, out, err = run(name, *value, *models, *size, "--data", f"npz:{images}", *own, *words, "--json")
    return code, json.loads(out) if out else {}, err


@pytest.mark.reference
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_run_is_invalid(run: Run, command: str, kind: str, images: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "run")] if command.startswith("attack") else []
    code, document, err = call(run, command, factory(tmp_path, kind), images, *out)
    assert (code, document["exit_code"], document["status"]) == (1, 1, "invalid"), err
    assert any(reason.startswith("outputs that are not finite") for reason in document["invalid_reasons"])
    if command == "compare":
        assert document["verdict"] == "disagree"


@pytest.mark.reference
@pytest.mark.parametrize("command", COMMANDS)
def test_a_finite_network_is_valid(run: Run, command: str, images: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "run")] if command.startswith("attack") else []
    code, document, err = call(run, command, factory(tmp_path, "finite"), images, *out)
    assert (code, document["status"], document["invalid_reasons"]) == (0, "complete", []), err


@pytest.mark.parametrize("out", [False, True], ids=["in one pass", "by pieces"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_image_is_neither_right_nor_fooled(run: Run, kind: str, out: bool, images: Path, tmp_path: Path) -> None:
    words = ["--out", str(tmp_path / "run")] if out else []
    _, document, _ = call(run, "evaluate", factory(tmp_path, kind), images, *words)
    before, after, labels = plain_loop(kind, images, tmp_path)
    at, right = document["epsilons"][0], before == labels
    has_class = (before >= 0) & (after >= 0)
    assert document["n"] == IMAGES
    assert count_and_n(document["clean"]["accuracy"]) == (right.sum(), IMAGES)
    assert count_and_n(at["robust_accuracy"]) == ((after == labels).sum(), IMAGES)
    assert count_and_n(at["attack_success_rate"]) == ((right & (after >= 0) & (after != labels)).sum(), right.sum())
    assert count_and_n(at["flip_rate"]) == ((has_class & (before != after)).sum(), IMAGES)
    assert count_and_n(document["outputs"]["nonfinite_before_share"]) == ((before < 0).sum(), IMAGES)
    assert count_and_n(document["outputs"]["nonfinite_after_share"]) == ((after < 0).sum(), IMAGES)
    assert np.sum(at["confusion"]) == (after >= 0).sum()
    assert np.sum(at["transition"]) == has_class.sum()
    assert [row["n"] for row in at["per_class"]] == np.bincount(labels, minlength=3).tolist()


def count_and_n(rate: dict[str, int]) -> tuple[int, int]:
    """The two integers of a rate."""
    return rate["count"], rate["n"]


def plain_loop(kind: str, images: Path, folder: Path) -> tuple[Any, Any, Any]:
    """Predictions before and after FGSM, -1 for outputs that are not finite, and labels, in plain PyTorch."""
    namespace: dict[str, Any] = {}
    exec((folder / f"{kind.replace(' ', '_')}.py").read_text(), namespace)
    network = namespace["Net"](kind).eval()
    stored = np.load(images)
    found = []
    for low in range(0, IMAGES, 16):
        x, y = torch.from_numpy(stored["images"][low : low + 16]), torch.from_numpy(stored["labels"][low : low + 16])
        leaf = x.clone().requires_grad_()
        outputs = network(leaf)
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(outputs, y, reduction="sum"), leaf)
        unmoved = ~gradient.flatten(1).isfinite().all(1).reshape(-1, 1, 1, 1)
        x_adv = torch.where(unmoved, x, (x + 8 / 255 * gradient.sign()).clamp(0, 1))
        sides = [outputs.detach(), network(x_adv).detach()]
        found.append([torch.where(side.isfinite().all(1), side.argmax(1), -1).numpy() for side in sides])
    before, after = (np.concatenate(column) for column in zip(*found, strict=True))
    return before, after, stored["labels"]


@pytest.mark.reference
@pytest.mark.parametrize("kind", PARTIAL)
def test_saved_images_are_checked_and_stay_invalid(run: Run, kind: str, images: Path, tmp_path: Path) -> None:
    model, place = factory(tmp_path, kind), str(tmp_path / "run")
    call(run, "attack", model, images, "--out", place)
    code, out, _ = run("attack", "--check", place, "--trust-model-code", "--json")
    document = json.loads(out)
    assert (code, document["status"], document["verdict"]) == (1, "invalid", "verified")
    assert document["invalid_reasons"][0].startswith("outputs that are not finite")


@pytest.mark.parametrize("kind", ["nan after", "nan before"])
def test_no_gate_is_passed(run: Run, kind: str, images: Path, tmp_path: Path) -> None:
    places = {name: str(tmp_path / name.replace(" ", "-")) for name in (kind, "finite")}
    call(run, "evaluate", factory(tmp_path, kind), images, "--out", places[kind])
    call(run, "evaluate", factory(tmp_path, "finite"), images, "--out", places["finite"])
    for pair in ((places[kind], places["finite"]), (places["finite"], places[kind])):
        code, out, _ = run("gate", pair[0], "--baseline", pair[1], "--max-drop", "1", "--json")
        assert (code, json.loads(out)["verdict"]) == (1, "failed")
    code, document, _ = call(run, "evaluate", factory(tmp_path, kind), images, "--min-robust-accuracy", "0")
    assert code == 1, document["gates"]


def test_a_report_says_so(run: Run, images: Path, tmp_path: Path) -> None:
    place, page = str(tmp_path / "run"), tmp_path / "page.html"
    call(run, "evaluate", factory(tmp_path, "nan after"), images, "--out", place)
    code, _, err = run("report", place, "--output", str(page))
    assert code == 0, err
    assert "outputs that are not finite" in page.read_text()


def test_exported_rows_have_no_class(run: Run, images: Path, tmp_path: Path) -> None:
    place, rows = tmp_path / "run", tmp_path / "rows.jsonl"
    _, document, _ = call(run, "evaluate", factory(tmp_path, "nan after"), images, "--out", str(place))
    assert run("runs", "show", str(place), "--export", str(rows))[0] == 0
    after = [row[f"after_{8 / 255!r}"] for row in map(json.loads, rows.read_text().splitlines())]
    assert after.count(None) == document["outputs"]["nonfinite_after_share"]["count"] > 0


def test_restarts_keep_them_visible(run: Run, images: Path, tmp_path: Path) -> None:
    code, document, _ = call(run, "evaluate", factory(tmp_path, "nan after"), images, "--restarts", "2", "--eps", "1/255")
    assert code == 1
    assert document["outputs"]["nonfinite_after_share"]["count"] > 0


@pytest.mark.reference
def test_verify_names_the_network(run: Run, images: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def fgsm(model, x, y, epsilon):\n    return x\n")
    model = ["--model", factory(tmp_path, "nan before"), "--num-classes", "3", "--data", f"npz:{images}"]
    code, _, err = run("verify", f"{tmp_path / 'mine.py'}:fgsm", *model)
    assert code == 1
    assert "network must return finite outputs" in err


def test_minus_infinity_beside_finite_outputs_is_a_class() -> None:
    """A network rules a class out by -inf: the softmax is 0 there, and the gradient is finite."""

    class Masked(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            total = x.flatten(1).sum(1) - 8
            return torch.stack([total, -total, torch.full_like(total, -torch.inf)], 1)

    x = torch.tensor([0.25, 0.75]).reshape(2, 1, 1, 1).expand(2, 1, 4, 4)
    y = torch.tensor([1, 1])
    assert rf.fgsm(Masked(), x, y, 0.25).flatten(1).mean(1).tolist() == [0.5, 1.0]
    assert predicted_classes(Masked()(x)).tolist() == [1, 0]
