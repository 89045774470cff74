"""`rfgsm benchmark` as a user meets it: what it prints, what it returns, and what it says of bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robustbench_fgsm.benchmarking import benchmark as module
from robustbench_fgsm.benchmarking.contenders import ReferenceImplementation
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.registry import Registry, RegistryEntry

Run = Callable[..., tuple[int, str, str]]
EXAMPLE = Path(__file__).parents[3] / "examples/cifar_resnet18.py"
QUICK = ("--model", "mlp300", "--limit", "64", "--eps", "4,8/255", "--rounds", "1", "--no-memory")


def benchmark(run: Run, *words: str, references: str = "none") -> tuple[int, str, str]:
    return run("benchmark", *QUICK, "--references", references, *words)


def test_json_is_one_document(run: Run) -> None:
    code, out, err = benchmark(run, "--json", "--batch-size", "32", "--threads", "1")
    document = json.loads(out)
    assert (code, document["schema"], document["n"]) == (0, "rfgsm.benchmark/1", 64)
    assert (document["batch_size"], document["environment"]["threads"]) == (32, 1)
    assert document["attack"]["epsilons"] == [4 / 255, 8 / 255]
    assert "standard weights" in err


def test_default_budgets_and_images(run: Run) -> None:
    code, out, _ = run("benchmark", "--model", "mlp300", "--rounds", "1", "--no-memory", "--references", "none", "--json")
    document = json.loads(out)
    assert (code, document["n"]) == (0, 512)
    budgets = [timing["epsilons"] for timing in document["contenders"][0]["timings"]]
    assert budgets[::2] == [[8 / 255], [step / 255 for step in range(1, 9)]]


@pytest.mark.reference
def test_tables_fit_80_columns(run: Run) -> None:
    code, out, _ = benchmark(run, references="art")
    assert code == 0
    assert max(map(len, out.splitlines()[:-1])) <= 80  # the answer is one line
    assert "…" not in out
    for words in ("channels-last", "default", "ours", "none", "art", "epsilon 8/255", "2 epsilons", "Unit:", "the noise"):
        assert words in out


def test_measures_memory(run: Run) -> None:
    words = [word for word in QUICK if word != "--no-memory"]
    code, out, _ = run("benchmark", *words, "--references", "none", "--json", "--quiet")
    assert code == 0
    for contender in json.loads(out)["contenders"]:
        assert contender["memory_error"] is None
        assert contender["memory"]["peak"] >= contender["memory"]["before"] > 0


def test_makes_a_factory_again_for_memory(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        """
import torch
from torch import nn
import robustbench_fgsm as rf

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x.flatten(1))

def network():
    return Own()

def images():
    return rf.ArrayDataset("drawn", torch.rand(8, 1, 2, 2), torch.arange(8) % 3, ("a", "b", "c"))
"""
    )
    words = ["--model", f"factory:{file}:network", "--data", f"factory:{file}:images", "--rounds", "1", "--levels", "none"]
    code, out, _ = run("benchmark", *words, "--references", "none", "--json", "--quiet")
    assert code == 0
    assert [one["memory_error"] for one in json.loads(out)["contenders"]] == [None] * 3


def test_markdown(run: Run) -> None:
    code, out, _ = benchmark(run, "--format", "markdown")
    assert code == 0
    assert "| bare channels-last | " in out
    assert out.count("| attack seconds | times the unit |") == 2


@pytest.mark.reference
def test_reports_a_failing_library(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: ReferenceImplementation, data: Any, epsilons: Any) -> int:
        raise RuntimeError("no luck")

    monkeypatch.setattr(ReferenceImplementation, "attack", broken)
    code, out, _ = benchmark(run, references="art")
    assert code == 0
    assert "Failed: art: RuntimeError: no luck" in out


def test_names_libraries_not_installed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = RegistryEntry("foolbox", "", "foolbox", "no-such-package")
    monkeypatch.setattr(module, "REFERENCES", Registry("references", "prepare", SettingError, absent))
    code, out, _ = run("benchmark", *QUICK)
    assert code == 0
    assert "Not installed: foolbox: pip install no-such-package" in out


def test_quiet_prints_only_the_result(run: Run) -> None:
    assert benchmark(run, "--quiet", "--json")[2] == ""


def test_out_keeps_the_result(run: Run, tmp_path: Path) -> None:
    where = str(tmp_path / "run")
    _, first, _ = benchmark(run, "--out", where, "--json")
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == json.loads(first)
    assert benchmark(run, "--out", where, "--json")[1] == first
    code, _, err = benchmark(run, "--out", where, "--batch-size", "16", "--quiet")
    assert code == 2
    assert "batch_size" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rounds", "0"], "rounds must be at least 1"),
        (["--threads", "0"], "threads must be at least 1"),
        (["--norm", "1", "--eps", "1"], "norm inf or 2"),
        (["--levels", "most"], "levels must be one of none, safe, max"),
        (["--eps", "8,8/255"], "all different"),
        (["--eps", "8"], "did you mean 8/255?"),
        (["--batch-size", "x"], "auto or a positive integer"),
        (["--references", "arty"], "did you mean art?"),
        (["--model", "resnet81"], "did you mean resnet18?"),
        (["--json", "--format", "markdown"], "exclude each other"),
    ],
    ids=str,
)
def test_bad_input_exits_2(run: Run, words: list[str], message: str) -> None:
    code, out, err = benchmark(run, "--quiet", *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err


def test_the_example_for_cifar(run: Run) -> None:
    words = ["--model", f"factory:{EXAMPLE}:network", "--data", f"factory:{EXAMPLE}:images", "--limit", "8"]
    code, out, _ = run("benchmark", *words, "--rounds", "1", "--no-memory", "--references", "none", "--json", "--quiet")
    document = json.loads(out)
    assert (code, document["n"], document["warnings"]) == (0, 8, [])
    assert document["contenders"][0]["clean_accuracy"]["count"] == 8
