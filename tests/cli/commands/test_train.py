"""`rfgsm train` as a user meets it: weights that load, a training that goes on, and one line where it cannot be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from PIL import Image

import robustbench_fgsm as rf
from robustbench_fgsm.models.cards import WEIGHTS_FILE
from robustbench_fgsm.models.saved_weights import CARD_FILE
from robustbench_fgsm.report.schemas import load_schema
from robustbench_fgsm.runs.directory import TRAINING_LOG_FILE
from robustbench_fgsm.runs.train import CHECKPOINT_FILE

Run = Callable[..., tuple[int, str, str]]
QUICK = ["--model", "mlp300", "--limit", "256", "--batch-size", "32", "--held-out", "0", "--device", "cpu"]


def train(run: Run, out: Path, *words: str) -> tuple[int, str, str]:
    return run("train", *QUICK, "--epochs", "1", "--out", str(out), "--quiet", *words)


def document(run: Run, out: Path, *words: str) -> dict[str, Any]:
    code, printed, err = train(run, out, "--json", *words)
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(printed)
    Draft202012Validator(load_schema("training")).validate(found)
    return found


@pytest.mark.reference
def test_training_writes_its_files(run: Run, tmp_path: Path) -> None:
    found = document(run, tmp_path / "run", "--method", "n-fgsm", "--held-out", "32")
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == found
    lines = [json.loads(line) for line in (tmp_path / "run" / TRAINING_LOG_FILE).read_text().splitlines()]
    assert lines == found["checks"]
    card = json.loads((tmp_path / "run" / CARD_FILE).read_text())
    assert (card["kept"], card["recipe"], card["n"]) == (found["kept"], found["recipe"], 256 - 32)
    assert found["checks"][0]["pgd"]["n"] == 32


def test_loads_trained_weights(run: Run, tmp_path: Path) -> None:
    found = document(run, tmp_path / "run")
    for weights in (tmp_path / "run", tmp_path / "run" / WEIGHTS_FILE):
        assert rf.load_classifier("mlp300", weights=str(weights)).info.sha256 == found["model"]["sha256"]
    code, printed, _ = run(
        *("evaluate", "--model", "mlp300", "--weights", str(tmp_path / "run"), "--limit", "64", "--json", "--quiet")
    )
    assert code == 0
    assert json.loads(printed)["model"]["sha256"] == found["model"]["sha256"]


def test_out_keeps_the_result(run: Run, tmp_path: Path) -> None:
    found = document(run, tmp_path / "run")
    again = document(run, tmp_path / "run")
    assert (again["model"], again["checks"]) == (found["model"], found["checks"])
    code, printed, err = train(run, tmp_path / "run", "--seed", "1")
    assert (code, printed) == (2, "")
    assert "seed" in err


def test_a_killed_training_continues(run: Run, tmp_path: Path) -> None:
    words = ["--method", "n-fgsm", "--epochs", "40", "--seed", "3"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "robustbench_fgsm", "train", *QUICK, *words, "--out", str(killed), "--quiet"]
    environment = os.environ | {"PYTHONPATH": str(Path(rf.__file__).parents[1])}
    with subprocess.Popen(command, env=environment) as process:
        while process.poll() is None and not (killed / CHECKPOINT_FILE).is_file():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (killed / CHECKPOINT_FILE).is_file()
    assert not (killed / WEIGHTS_FILE).exists()
    resumed, straight = document(run, killed, *words), document(run, whole, *words)
    assert resumed["model"]["sha256"] == straight["model"]["sha256"]
    assert resumed["checks"] == straight["checks"]
    assert (killed / WEIGHTS_FILE).read_bytes() == (whole / WEIGHTS_FILE).read_bytes()


def test_static_adds_fooling_images(run: Run, tmp_path: Path) -> None:
    words = ["--method", "static", "--eps", "0.1", "--weights", "standard", "--epochs", "4"]
    found = document(run, tmp_path / "run", *words)
    assert (found["recipe"]["method"], found["recipe"]["epsilon"], found["n"]) == ("static", 0.1, 256)
    assert found["checks"][-1]["step"] == 4 * 2 * 256 // 32  # each image, and the one that fooled the network on it
    first = rf.load_classifier("mlp300", device="cpu")
    trained = rf.load_classifier("mlp300", weights=str(tmp_path / "run"), device="cpu")
    assert trained.info.sha256 == found["model"]["sha256"] != first.info.sha256
    x, y = next((batch.images, batch.labels) for batch in rf.load_data("fashion-mnist", limit=256).batches(0, 256, 256))
    fooling = rf.fgsm(first, x, y, 0.1)
    right = [int((one.predict(fooling).argmax(1) == y).sum()) for one in (first, trained)]
    assert right[1] > right[0] + 64  # it has learnt those very images


def test_trains_on_the_split_for_training(run: Run, tmp_path: Path) -> None:
    """A training takes the split for training if the folder holds one, and says so."""
    for place in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / "photos" / place).mkdir(parents=True)
        for number in range(8):
            Image.new("L", (28, 28), number).save(tmp_path / "photos" / place / f"{number}.png")
    words = [*("--model", "mlp300", "--data", f"folder:{tmp_path / 'photos'}", "--epochs", "1", "--batch-size", "4")]
    words += ["--held-out", "0", "--device", "cpu"]
    code, printed, err = run("train", *words, "--out", str(tmp_path / "run"), "--json")
    assert code == 0, err
    assert "holds train and val: took --split train" in err
    assert json.loads(printed)["data"]["settings"]["split"] == "train"
    shutil.rmtree(tmp_path / "photos" / "train")
    code, printed, err = run("train", *words, "--out", str(tmp_path / "other"), "--json")
    assert (code, json.loads(printed)["data"]["settings"]["split"]) == (0, "val")
    assert "holds val: took --split val" in err


def test_tables_name_the_method(run: Run, tmp_path: Path) -> None:
    code, printed, err = train(run, tmp_path / "run", "--method", "fgsm", "--eps", "8/255")
    assert (code, err) == (0, "")
    assert "fgsm at epsilon 8/255" in printed
    assert "Kept: the weights of epoch 1, quarter 4, the last." in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "pgd"], "method must be one of"),
        (["--eps", "1,2/255"], "train takes one epsilon, got 2"),
        (["--epochs", "0"], "epochs must be"),
        (["--held-out", "256"], "images beside the 256 held out"),
        (["--method", "static"], "static joins images that fool a trained network"),
        (["--strict"], "leave it out"),
    ],
)
def test_bad_input_exits_2(run: Run, tmp_path: Path, words: list[str], message: str) -> None:
    code, printed, err = train(run, tmp_path / "run", *words)
    assert (code, printed) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "run").exists()
