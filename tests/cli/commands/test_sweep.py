"""`rfgsm sweep` as a user meets it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator

import robustbench_fgsm as rf
from robustbench_fgsm.engine import environment
from robustbench_fgsm.evaluation.result import sweep_document
from robustbench_fgsm.report.schemas import load_schema

Run = Callable[..., tuple[int, str, str]]


def sweep(run: Run, *words: str) -> tuple[int, str, str]:
    return run("sweep", "--model", "mlp300", "--limit", "64", "--quiet", *words)


def document(run: Run, *words: str) -> dict[str, Any]:
    code, out, err = sweep(run, "--json", *words)
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    Draft202012Validator(load_schema("sweep")).validate(found)
    assert (code, found["exit_code"]) == (0, 0)
    return found


def test_default_grid_matches_the_library(run: Run, classifier: rf.TorchClassifier) -> None:
    found = document(run)
    same = sweep_document(rf.sweep(classifier, rf.load_data("fashion-mnist", limit=64)))
    (one,), (other,) = found["evaluations"], json.loads(json.dumps(same))["evaluations"]
    assert [at["epsilon"] for at in one["epsilons"]] == [k / 255 for k in (1, 2, 4, 8, 16)]
    for key in ("epsilons", "clean", "minimal_epsilon", "area_under_curve", "attack", "gradient"):
        assert one[key] == other[key]
    assert one["find_asr"] is None


def test_repeated_rules_count_one_time(run: Run) -> None:
    rules = ["--targeted", "none", "--targeted", "next", "--targeted", "shift:1", "--targeted", "class:Bag"]
    found = document(run, "--eps", "4/255", *rules)["evaluations"]
    assert [evaluation["attack"]["targeted"] for evaluation in found] == ["none", "next", "class:Bag"]


def test_find_asr_names_the_first_budget(run: Run) -> None:
    found = document(run, "--eps", "0,255/255", "--find-asr", "0", "--targeted", "none", "--targeted", "next")
    assert [evaluation["find_asr"]["epsilon"] for evaluation in found["evaluations"]] == [0.0, 0.0]
    (one,) = document(run, "--eps", "0,0.001", "--find-asr", "1")["evaluations"]
    assert one["find_asr"]["success_rate"] == 1
    assert one["find_asr"]["epsilon"] is None


def test_a_kept_result_answers_another_question(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path / "run")
    first = document(run, "--out", place)
    monkeypatch.setattr("robustbench_fgsm.evaluation.evaluate.run_attacks", None)
    second = document(run, "--out", place, "--find-asr", "0.5")
    assert second["evaluations"][0]["find_asr"]["success_rate"] == 0.5
    assert second["evaluations"][0]["epsilons"] == first["evaluations"][0]["epsilons"]
    assert document(run, "--out", place) == first


def test_refuses_the_run_of_another_command(run: Run, tmp_path: Path) -> None:
    document(run, "--eps", "8/255", "--out", str(tmp_path / "run"))
    code, out, err = run("evaluate", "--model", "mlp300", "--limit", "64", "--quiet", "--out", str(tmp_path / "run"))
    assert (code, out) == (2, "")
    assert f"must hold a run of `rfgsm evaluate`, got {tmp_path / 'run'} of sweep: choose another directory" in err


def test_tables_and_curve_fit_80_columns(run: Run) -> None:
    code, out, _ = sweep(run, "--targeted", "none", "--targeted", "class:Ankle boot", "--find-asr", "0.5")
    assert code == 0
    assert max(map(len, out.splitlines()[:-1])) <= 80  # the answer is one line
    assert "…" not in out
    assert "A untargeted" in out
    assert "Targeted class:Ankle boot" in out


@pytest.mark.parametrize(("name", "start"), [("c.png", b"\x89PNG"), ("a/c.svg", b"<?xml"), ("c.PDF", b"%PDF")])
def test_plot(run: Run, tmp_path: Path, name: str, start: bytes) -> None:
    document(run, "--eps", "4,8/255", "--plot", str(tmp_path / name))
    assert (tmp_path / name).read_bytes().startswith(start)


def test_csv_and_markdown(run: Run, tmp_path: Path) -> None:
    code, out, _ = sweep(run, "--eps", "4,8/255", "--csv", str(tmp_path / "all.csv"), "--format", "markdown")
    assert code == 0
    assert "mlp300 (standard) on 64 images" in out
    assert "**Untargeted**" in out
    with (tmp_path / "all.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["gradient"] == "ordinary"]
    assert [float(row["epsilon"]) for row in rows] == [4 / 255] * 10 + [8 / 255] * 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--plot", "curve.jpg"], "figure must be a file that ends in .png, .svg or .pdf"),
        (["--plot", "."], "cannot be written, because . is a directory"),
        (["--eps", "4,4/255"], "at least one and all different"),
        (["--eps", "1,2/255,3"], "mixes fractions and other numbers"),
        (["--eps", "1,300/255"], "must lie in [0, 1]"),
        (["--find-asr", "50"], "find asr must be a share in [0, 1], got 50: did you mean 0.5?"),
        (["--targeted", "nxt"], "did you mean next?"),
        (["--targeted", "shift:10"], "must not be a multiple of the 10 classes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_settings_exit_2(run: Run, tmp_path: Path, words: list[str], message: str) -> None:
    code, out, err = sweep(run, "--out", str(tmp_path / "run"), *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("what", ["package", "device"])
def test_out_refuses_another_version_or_device(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    document(run, "--out", str(tmp_path))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    there = {"package": rf.__version__, "device": "cpu"}[what]
    now = {"package": "99.0", "device": "meta"}[what]
    if what == "package":
        monkeypatch.setattr(environment, "installed_version", lambda name: now if name == "robustbench-fgsm" else version(name))
    else:
        monkeypatch.setattr(rf.TorchClassifier, "device", torch.device(now))
        monkeypatch.setattr("robustbench_fgsm.engine.preflight.preflight", lambda *_, **__: [])  # nothing computes there
    code, out, err = sweep(run, "--out", str(tmp_path))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f'with {what} "{there}" there, "{now}" now: choose another directory' in err
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
