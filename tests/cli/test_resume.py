"""`rfgsm runs` on transfers and trainings: how far they are, and on from there."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from robustbench_fgsm.runs.train import CheckpointStore
from tests.cli.commands.test_runs import Run, document, signal_after

FACTORY = """
import torch
from torch import nn

def make():
    layer = nn.Linear(784, 10)
    layer.weight.data, layer.bias.data = torch.linspace(-1, 1, 7840).view(10, 784).sin(), torch.zeros(10)
    return nn.Sequential(nn.Flatten(), layer)
"""


@pytest.fixture(autouse=True)
def _quick(one_thread: None) -> None:
    """Every test here runs on one thread."""


def untimed(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "seconds"}


def test_resumes_a_transfer(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made.py").write_text(FACTORY)
    made = f"factory:{tmp_path / 'made.py'}:make"
    words = [*shlex.split("transfer --source mlp300 --target mlp600:standard --per-class --common"), "--target", made]
    words += shlex.split("--data fashion-mnist --limit 60 --batch-size 16 --eps 4,8/255 --quiet")
    whole = document(run, "transfer", *words, "--out", str(tmp_path / "whole"))
    stopped = str(tmp_path / "stopped")
    with monkeypatch.context() as patch:
        signal_after(patch, 2, signal.SIGTERM)
        assert run(*words, "--out", stopped) == (130, "", f"rfgsm: interrupted: rfgsm runs resume {stopped} continues\n")
    (listed,) = document(run, "runs", "runs", "list", stopped)["runs"]
    assert (listed["command"], listed["state"], listed["done"], listed["pieces"]) == ("transfer", "interrupted", 2, 4)
    assert listed["model"] == f"mlp300, mlp600, {made}"
    assert "transfer, interrupted, 2 of 4 pieces" in " ".join(run("runs", "show", stopped)[1].split())
    code, out, err = run("runs", "resume", stopped, "--quiet")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert "--trust-model-code" in err
    resumed = document(run, "transfer", "runs", "resume", stopped, "--trust-model-code", "--quiet")
    assert untimed(resumed) == untimed(whole)
    shown = document(run, "run-shown", "runs", "show", stopped)
    assert (shown["state"], shown["done"], shown["result"]) == ("complete", 4, resumed)
    assert "FGSM from 1 model to 2" in run("runs", "show", stopped)[1]
    code, _, err = run("runs", "resume", stopped, "--weights", "mine.safetensors", "--trust-model-code")
    assert (code, err.count("\n")) == (2, 1)


def test_resumes_a_training(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split("train --model mlp300 --limit 128 --batch-size 32 --held-out 0 --epochs 2 --quiet")
    whole = document(run, "training", *words, "--out", str(tmp_path / "whole"))
    stopped, save = str(tmp_path / "stopped"), CheckpointStore.save

    def save_and_send(store: CheckpointStore, state: bytes, log: list[dict[str, Any]]) -> None:
        save(store, state, log)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", save_and_send)
        assert run(*words, "--out", stopped) == (130, "", f"rfgsm: interrupted: rfgsm runs resume {stopped} continues\n")
    (listed,) = document(run, "runs", "runs", "list", stopped)["runs"]
    assert (listed["command"], listed["state"], listed["done"], listed["pieces"]) == ("train", "interrupted", 4, 8)
    assert "4 of 8 quarters of an epoch" in " ".join(run("runs", "show", stopped)[1].split())
    resumed = document(run, "training", "runs", "resume", stopped, "--quiet")
    assert untimed(resumed) == untimed(whole)
    assert "After each epoch" in run("runs", "show", stopped)[1]


def test_a_run_of_an_older_version_is_refused(run: Run, tmp_path: Path) -> None:
    """Its manifest does not say which network it measured; the remedy of the message works."""
    words, old = shlex.split("evaluate --model mlp300 --limit 40 --batch-size 16 --quiet --out"), tmp_path / "old"
    first = document(run, "evaluation", *words, str(old))
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["model"]["architecture_sha256"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    (old / "result.json").unlink()
    line = f"rfgsm: --out must hold a run that records model.architecture_sha256, got {old} of an older version: "
    line += "run the command again with another directory\n"
    assert run(*words, str(old)) == (2, "", line)
    assert run("runs", "resume", str(old), "--quiet") == (2, "", line)
    assert untimed(document(run, "evaluation", *words, str(tmp_path / "new"))) == untimed(first)


def test_does_not_resume_a_comparison(run: Run, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"command": "compare"}))
    code, out, err = run("runs", "resume", str(tmp_path))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "of compare: run its own command again" in err
    (tmp_path / "manifest.json").write_text(json.dumps({"command": "train", "recipe": {"epochs": "many"}}))
    code, _, err = run("runs", "list", str(tmp_path))
    assert (code, err.count("\n")) == (2, 1)
    assert "must be as rfgsm wrote it" in err
