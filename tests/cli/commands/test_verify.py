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

def only_grey(model, x, y, epsilon):
    assert x.shape[1:] == (1, 28, 28)
    return right(model, x, y, epsilon)

def only_one(model, x, y, epsilon):
    assert len(x) == 1
    return right(model, x, y, epsilon)

def only_two_classes(model, x, y, epsilon):
    assert model(x).shape[1] == 2
    return right(model, x, y, epsilon)

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
    assert out.splitlines()[-1] == "RIGHT for images in [0, 1]: all 9 stages are measured and right."
    assert max(map(len, out.splitlines())) <= 80
    assert "saturation-cancellation: in call" in out
    assert "Warning" not in out


def test_names_a_mistake_and_its_remedy(run: Run, mine: str) -> None:
    code, out, err = run("verify", f"{mine}:down")
    assert code == 1
    assert "on standard output" in err
    assert "on standard output" not in out
    assert [line.split()[-1] for line in out.splitlines() if "WRONG  " in line] == ["wrong-sign"]
    assert "Remedy: add epsilon * gradient.sign() to climb the loss" in " ".join(out.split())
    assert "See docs/reference/mistakes/wrong-sign.md." in out


def test_json_matches_the_library(run: Run, mine: str) -> None:
    code, out, _ = run("verify", f"{mine}:down", "--json", "--quiet")
    document = json.loads(out)
    Draft202012Validator(load_schema("verification")).validate(document)
    assert (code, document["exit_code"], document["verdict"]) == (1, 1, "wrong")
    library: dict[str, Any] = rf.verify(f"{mine}:down").to_dict()
    for key in ("candidate", "stages", "conduct", "harmless", "limitations", "calls"):
        assert document[key] == library[key]


def test_markdown_table(run: Run, mine: str) -> None:
    code, out, _ = run("verify", f"{mine}:down", "--format", "markdown")
    assert code == 1
    assert out.startswith("**WRONG: direction; 8 of 9 stages are right.**\n")
    assert "| WRONG | wrong-sign |" in out


def test_figure_page_and_table(run: Run, mine: str, tmp_path: Path) -> None:
    files = {"--plot": "f.png", "--html": "page.html", "--csv": "table.csv"}
    words = [word for option, name in files.items() for word in (option, str(tmp_path / name))]
    assert run("verify", f"{mine}:right", *words)[0] == 0
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert "<!doctype html>" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()[0] == "stage,measured,verdict,known mistake"


def test_an_own_model_alone_gives_a_verdict(run: Run, mine: str) -> None:
    words = ("--case", "own", "--model", "resnet18")
    code, out, err = run("verify", f"{mine}:right", *words)
    assert code == 0
    assert "as expected on your own network" in " ".join(out.split())
    assert err.startswith("resnet18: standard weights")
    assert run("verify", f"{mine}:down", *words)[0] == 1


@pytest.mark.parametrize(
    ("function", "words"),
    [("only_grey", ["--image-shape", "1x28x28"]), ("only_one", ["--one-image"]), ("only_two_classes", ["--classes", "2"])],
)
def test_a_limited_candidate_gets_its_option(run: Run, mine: str, function: str, words: list[str]) -> None:
    code, out, _ = run("verify", f"{mine}:{function}")
    assert code == 1
    assert f"Remedy: pass {' '.join(words)}" in " ".join(out.split())
    assert "\nINCOMPLETE: " in out
    assert run("verify", f"{mine}:{function}", *words)[0] == 0


def test_a_raising_candidate(run: Run, mine: str) -> None:
    code, out, err = run("verify", f"{mine}:raising")
    assert code == 1
    assert "raises ValueError: no such [red]thing[/red]" in " ".join(out.split())
    assert "INCOMPLETE" in out
    assert "Traceback" not in err
    assert "Traceback" in run("verify", f"{mine}:raising", "--case", "rows", "--debug")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{mine}"], "name the function too"),
        (["{mine}:rigth"], "did you mean right"),
        (["{mine}:right", "--case", "row"], "did you mean rows"),
        (["{mine}:right", "--case", "own"], "pass --model"),
        (["{mine}:right", "--expect", "x"], "must be the id of a mistake"),
        (["{mine}:right", "--time-limit", "-1"], "seconds > 0"),
        (["{mine}:right", "--image-shape", "28x28"], "such as 1x28x28"),
        (["{mine}:right", "--classes", "1"], "classes must be an integer >= 2"),
        (["{mine}:right", "--plot", "f.txt"], "figure must be a file that ends in"),
        (["{mine}:right", "--weights", "none"], "need a --model"),
        (["{mine}:right", "--model", "resnet81"], "did you mean resnet18"),
        ([], "must get a CANDIDATE or a --package, got neither"),
        (["{mine}:right", "--package", "foolbox==3.3.4"], "got both"),
        (["--package", "foolbox==3.3.4", "--model", "mlp300"], "leave --model out"),
        (["--package", "foolbox"], "NAME==VERSION"),
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
