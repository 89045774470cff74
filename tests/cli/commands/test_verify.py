"""`rfgsm verify` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import robustbench_fgsm as rf
from robustbench_fgsm.report.schemas import load_schema

Run = Callable[..., tuple[int, str, str]]

CODE = """
import torch
from torch.nn.functional import cross_entropy

def right(model, x, y, epsilon):
    x = x.clone().requires_grad_()
    grad, = torch.autograd.grad(cross_entropy(model(x), y, reduction="sum"), x)
    return (x + epsilon * grad.sign()).clamp(0, 1).detach()

def down(model, x, y, epsilon):
    print("on standard output")
    x = x.clone().requires_grad_()
    grad, = torch.autograd.grad(cross_entropy(model(x), y, reduction="sum"), x)
    return (x - epsilon * grad.sign()).clamp(0, 1).detach()

def raising(model, x, y, epsilon):
    raise ValueError("no such [red]thing[/red]")
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    file = tmp_path / "mine.py"
    file.write_text(CODE)
    return str(file)


def test_a_right_candidate(run: Run, mine: str) -> None:
    code, out, err = run("verify", f"{mine}:right")
    assert (code, err) == (0, "")
    assert "RIGHT: 16 of 16 cases pass." in out
    assert max(map(len, out.splitlines())) <= 80
    assert "Warning: saturation-cancellation" in out


def test_names_a_mistake_and_its_remedy(run: Run, mine: str) -> None:
    code, out, err = run("verify", f"{mine}:down", "--case", "grey", "--case", "colour")
    assert code == 1
    assert "on standard output" in err
    assert "on standard output" not in out
    assert out.count("FAIL") == 2
    assert "\nwrong-sign\n" in out
    assert "Remedy: add epsilon * gradient.sign() to climb the loss" in " ".join(out.split())


def test_json_matches_the_library(run: Run, mine: str) -> None:
    code, out, _ = run("verify", f"{mine}:down", "--json", "--quiet")
    document = json.loads(out)
    Draft202012Validator(load_schema("verification")).validate(document)
    assert (code, document["exit_code"], document["verdict"]) == (1, 1, "wrong")
    library: dict[str, Any] = rf.verify(f"{mine}:down").to_dict()
    for key in ("candidate", "cases", "diagnosis", "warnings"):
        assert document[key] == library[key]


def test_an_own_model_adds_a_case(run: Run, mine: str) -> None:
    code, out, err = run("verify", f"{mine}:right", "--case", "grey", "--model", "resnet18")
    assert code == 0
    assert "16 images of fashion-mnist on resnet18" in out
    assert err.startswith("resnet18: standard weights")


def test_a_raising_candidate(run: Run, mine: str) -> None:
    code, out, err = run("verify", f"{mine}:raising", "--case", "grey")
    assert code == 1
    assert "raises ValueError: no such [red]thing[/red]" in " ".join(out.split())
    assert "Traceback" not in err
    assert "Traceback" in run("verify", f"{mine}:raising", "--case", "grey", "--debug")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{mine}"], "name the function too"),
        (["{mine}:rigth"], "did you mean right"),
        (["{mine}:right", "--case", "gray"], "did you mean grey"),
        (["{mine}:right", "--expect", "x"], "must be the id of a mistake"),
        (["{mine}:right", "--time-limit", "-1"], "seconds > 0"),
        (["{mine}:right", "--weights", "none"], "need a --model"),
        (["{mine}:right", "--model", "resnet81"], "did you mean resnet18"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage_exits_2(run: Run, mine: str, words: list[str], said: str) -> None:
    code, out, err = run("verify", *(word.format(mine=mine) for word in words))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_runs_as_a_program(mine: str) -> None:
    words = [sys.executable, "-m", "robustbench_fgsm", "verify", f"{mine}:down"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1, done.stderr
    assert "wrong-sign" in done.stdout
