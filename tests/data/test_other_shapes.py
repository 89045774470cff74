"""Tables, signals and volumes from a file to a page: the counts of a plain loop, and agreement with ART."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.cli.main import main
from tests.report.packed import unpack_json

SHAPES = {"NF": (12,), "NCL": (2, 40), "NCDHW": (2, 6, 7, 8)}
MODULE = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    first = {1: lambda: nn.Linear(12, 5), 2: lambda: nn.Conv1d(2, 5, 5), 4: lambda: nn.Conv3d(2, 5, 3)}[AXES]()
    network = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    network(torch.zeros(1, *SHAPE))
    return network
"""


def written(tmp_path: Path, layout: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    shape = SHAPES[layout]
    code = MODULE.replace("AXES", str(len(shape))).replace("SHAPE", str(shape))
    (tmp_path / "net.py").write_text(code)
    space: dict[str, object] = {}
    exec(code, space)
    x, y = torch.rand(24, *shape, generator=torch.Generator().manual_seed(1)), torch.arange(24) % 3
    np.savez(tmp_path / "data.npz", x=x.numpy(), y=y.numpy())
    network = space["make"]()  # type: ignore[operator]
    assert isinstance(network, nn.Module)
    return network, x, y


def plain_loop(network: nn.Module, x: torch.Tensor, y: torch.Tensor, epsilon: float) -> tuple[int, int]:
    """Correct predictions before and after one step of FGSM."""
    start = x.clone().requires_grad_()
    logits = network(start)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, y, reduction="sum"), start)
    after = network((x + epsilon * gradient.sign()).clamp(0, 1))
    return int((logits.argmax(1) == y).sum()), int((after.argmax(1) == y).sum())


@pytest.mark.parametrize("layout", SHAPES)
def test_counts_are_those_of_a_plain_loop(tmp_path: Path, layout: str) -> None:
    network, x, y = written(tmp_path, layout)
    expected = plain_loop(network, x, y, 0.05)
    arrays = rf.load_data((x.numpy(), y.numpy()), layout=layout)
    for data in ((x, y), arrays, rf.load_data(tmp_path / "data.npz", layout=layout)):
        found = rf.evaluate(network, data, 0.05)
        assert (found.clean_accuracy.count, found.tallies[0].robust_accuracy.count) == expected
    assert rf.compare(network, (x, y), 0.05).verdict == "agree"


def exit_code(*words: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return ended.value.code


@pytest.mark.parametrize("layout", SHAPES)
def test_commands(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, layout)
    monkeypatch.chdir(tmp_path)
    given = ["--model", "factory:net.py:make", "--num-classes", "3", "--data", "data.npz", "--layout", layout, "--quiet"]
    assert exit_code("evaluate", *given, "--out", "run", "--html", "run.html") == 0
    (packed,) = re.findall(r'<script type="text/plain" id="data">([^<]*)</script>', Path("run.html").read_text(encoding="utf-8"))
    assert bool(unpack_json(packed)["gallery"]) == (layout != "NF")
    assert exit_code("attack", *given, "--out", "saved", "--save-as", "npz") == 0
    assert exit_code("attack", "--check", "saved", "--trust-model-code", "--quiet") == 0
    assert exit_code("attack", *given, "--out", "png", "--save-as", "png") == 2
    assert exit_code("plot", "run", "--kind", "gallery", "-o", "gallery.png") == (2 if layout == "NF" else 0)
