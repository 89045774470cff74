"""`rfgsm gate` as a user meets it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator, ValidationError

import robustbench_fgsm as rf
from robustbench_fgsm.cli.main import main
from robustbench_fgsm.report.schemas import load_schema

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two networks: `strong` is right after the attack far more often than `weak` is."""
    place, before = tmp_path_factory.mktemp("runs"), torch.get_num_threads()
    torch.set_num_threads(1)
    for name, words in {
        "strong": ["--model", "smallcnn", "--weights", "robust", "--batch-size", "50"],
        "weak": ["--model", "smallcnn", "--batch-size", "40"],
        "other": ["--model", "mlp300", "--eps", "4/255"],
    }.items():
        with pytest.raises(SystemExit) as done:
            main(["evaluate", "--limit", "200", *words, "--out", str(place / name), "--quiet"])
        assert not done.value.code
    torch.set_num_threads(before)
    return place


def document(run: Run, runs: Path, name: str, baseline: str, *words: str) -> dict[str, Any]:
    code, out, err = run("gate", str(runs / name), "--baseline", str(runs / baseline), "--json", *words)
    found: dict[str, Any] = json.loads(out)
    assert (found["exit_code"], err) == (code, "")
    Draft202012Validator(load_schema("gate")).validate(found)
    return found


def test_a_weaker_network_fails(run: Run, runs: Path) -> None:
    failed = document(run, runs, "weak", "strong")
    assert (failed["verdict"], failed["exit_code"], failed["n"]) == ("failed", 1, 200)
    assert any(drop["exceeds"] and drop["label"] is None and drop["epsilon"] for drop in failed["drops"])
    passed = document(run, runs, "strong", "weak", "--max-drop", "0.3")
    assert (passed["verdict"], passed["exit_code"]) == ("passed", 0)
    assert document(run, runs, "weak", "strong", "--max-drop", "1")["verdict"] == "passed"


def test_document_matches_the_library(run: Run, runs: Path) -> None:
    found = document(run, runs, "weak", "strong", "--max-drop", "0.05", "--alpha", "0.1")
    same = rf.gate(runs / "weak", runs / "strong", max_drop=0.05, alpha=0.1)
    assert isinstance(same, rf.Gate)
    assert not same.passed
    assert found["drops"] == json.loads(json.dumps(same.to_dict()["drops"]))
    for name, key in (("weak", "accuracy"), ("strong", "baseline_accuracy")):
        result = json.loads((runs / name / "result.json").read_text(encoding="utf-8"))
        (at,) = result["epsilons"]
        side = at["stable"] if found["gradient"] == "stable" and "stable" in at else at
        clean, *before, robust = (drop[key] for drop in found["drops"] if drop["label"] is None)
        assert (clean, before) == (result["clean"]["accuracy"], [])
        assert robust == side["robust_accuracy"]
        classes = [drop[key] for drop in found["drops"] if drop["label"] is not None and drop["epsilon"]]
        assert classes == [each["robust_accuracy"] for each in side["per_class"]]


def test_the_same_network_passes(run: Run, runs: Path) -> None:
    passed = document(run, runs, "weak", "weak")
    assert (passed["verdict"], passed["warnings"]) == ("passed", ["run and baseline are of the same weights"])
    assert document(run, runs, "weak", "weak", "--require-evidence")["exit_code"] == 1
    assert document(run, runs, "weak", "weak", "--require-evidence", "--max-drop", "0.9")["exit_code"] == 0


@pytest.mark.parametrize("layout", ["table", "markdown"])
def test_tables_contain_the_verdict(run: Run, runs: Path, layout: str) -> None:
    words = ("--baseline", str(runs / "strong"), "--format", layout)
    code, out, err = run("gate", str(runs / "weak"), *words)
    assert (code, err) == (1, "")
    if layout == "markdown":
        assert out.startswith("**FAILED: accuracy fell by more than 1 % of the images: all images")
        assert "| :-- |" in out
    else:
        assert max(map(len, out.splitlines()[:-1])) <= 80  # the answer is one line
        assert "FAILED: accuracy fell by more than 1 %" in out
    assert "Found in 80 % of cases: a true drop of" in " ".join(out.split())
    assert "PASSED" in run("gate", str(runs / "weak"), "--baseline", str(runs / "weak"))[1]


@pytest.mark.parametrize(
    ("baseline", "words", "message"),
    [
        ("other", [], "run and baseline must have the same epsilons, got 8/255 and 4/255: measure one of them again"),
        ("nowhere", [], "run must be a directory that --out made"),
        ("weak", ["--max-drop", "5"], "max drop must be a share in [0, 1], got 5: did you mean 0.05?"),
        ("weak", ["--alpha", "0.7"], "alpha must lie between 0 and 0.5, got 0.7"),
        ("weak", ["--json", "--format", "markdown"], "exclude each other"),
        ("weak", ["--badge", "/"], "--badge / cannot be written, because / is a directory: choose another path"),
    ],
)
def test_incomparable_runs_exit_2(run: Run, runs: Path, baseline: str, words: list[str], message: str) -> None:
    code, out, err = run("gate", str(runs / "weak"), "--baseline", str(runs / baseline), *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_an_invalid_run_fails(run: Run, runs: Path, tmp_path: Path) -> None:
    invalid = shutil.copytree(runs / "strong", tmp_path / "invalid")
    result = json.loads((invalid / "result.json").read_text(encoding="utf-8"))
    result |= {"status": "invalid", "invalid_reasons": ["gradients are not finite"]}
    (invalid / "result.json").write_text(json.dumps(result), encoding="utf-8")
    code, out, _ = run("gate", str(invalid), "--baseline", str(runs / "weak"))
    assert code == 1
    assert "INVALID: run: gradients are not finite" in out


def test_a_broken_document_is_found(run: Run, runs: Path) -> None:
    found = document(run, runs, "weak", "strong")
    for key in ("verdict", "drops", "max_drop", "gradient"):
        with pytest.raises(ValidationError):
            Draft202012Validator(load_schema("gate")).validate({name: found[name] for name in found if name != key})
    for key in found["drops"][0]:
        broken = {name: value for name, value in found["drops"][0].items() if name != key}
        with pytest.raises(ValidationError):
            Draft202012Validator(load_schema("gate")).validate(found | {"drops": [broken, broken]})


def test_a_plan_of_one_and_of_two_pilots(run: Run, runs: Path) -> None:
    for pilots in (["weak"], ["weak", "strong"]):
        code, out, err = run("gate", "--plan", *(str(runs / name) for name in pilots), "--drops", "0.05,0.1", "--json")
        found = json.loads(out)
        Draft202012Validator(load_schema("gate-plan")).validate(found)
        same = rf.plan_gate(runs / pilots[0], runs / pilots[1] if pilots[1:] else None, (0.05, 0.1)).to_dict()
        assert (code, err, found["budgets"]) == (0, "", json.loads(json.dumps(same["budgets"])))
        assert [pilot["path"] for pilot in found["pilots"]] == [str(runs / name) for name in pilots]
    code, out, _ = run("gate", "--plan", str(runs / "weak"), str(runs / "strong"))
    assert code == 0
    assert "Smallest drop that 200 images show at epsilon 8/255" in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{}"], "gate needs RUN and --baseline RUN, got no --baseline RUN: add it, or plan a gate with --plan RUN"),
        (["--baseline", "{}"], "got no RUN: add it"),
        (["{}", "--baseline", "{}", "--drops", "0.1"], "--drops is for --plan, got it for a gate: leave it out, or add --plan RUN"),
        (["--plan", "{}", "--baseline", "{}"], "--plan and --baseline exclude each other, got both: leave --baseline out"),
        (["--plan", "{}", "--require-evidence"], "leave --require-evidence out"),
        (["--plan", "{}", "--badge", "badge.json"], "leave --badge out"),
    ],
)
def test_options_that_do_not_fit_exit_2(run: Run, runs: Path, words: list[str], message: str) -> None:
    code, out, err = run("gate", *(word.format(runs / "weak") for word in words))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
