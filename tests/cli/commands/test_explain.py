"""`rfgsm explain` as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import robustbench_fgsm as rf
from robustbench_fgsm.explanation import explain as explain_module
from robustbench_fgsm.report.schemas import load_schema

Run = Callable[..., tuple[int, str, str]]


def explain(run: Run, value: str, *words: str) -> tuple[int, str, str]:
    return run("explain", value, "--model", "mlp300", "--limit", "64", "--quiet", *words)


def document(run: Run, value: str, *words: str) -> dict[str, Any]:
    code, out, err = explain(run, value, "--json", *words)
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    Draft202012Validator(load_schema("explanation")).validate(found)
    assert code == found["exit_code"] == 0
    return found


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("", {}),
        ("--eps 4/255 --n 5000", {"epsilon": 4 / 255, "n": 5000}),
        ("--targeted random --seed 3 --batch-size 20", {"targeted": "random", "seed": 3, "batch_size": 20}),
    ],
)
def test_json_matches_the_library(run: Run, classifier: rf.TorchClassifier, words: str, options: dict[str, Any]) -> None:
    found = document(run, "37%", *words.split())
    same = rf.explain(classifier, rf.load_data("fashion-mnist", limit=64), "37%", **options).to_dict()
    for key in ("claim", "claims", "honest", "explanations", "attack", "data", "n", "test"):
        assert found[key] == json.loads(json.dumps(same[key]))


@pytest.mark.parametrize(("values", "options"), [("80% 0.6", {"epsilon": "4,8/255"}), ("90% 0.6 0.25", {"epsilon": "8/255"})])
def test_several_numbers(run: Run, classifier: rf.TorchClassifier, values: str, options: dict[str, str]) -> None:
    first, *others = values.split()
    found = document(run, first, *others, "--eps", options["epsilon"])
    same = rf.explain(classifier, rf.load_data("fashion-mnist", limit=64), values.split(), **options).to_dict()  # type: ignore[arg-type]
    assert found["claims"] == same["claims"]
    assert found["explanations"] == json.loads(json.dumps(same["explanations"]))
    code, out, _ = explain(run, first, *others, "--eps", options["epsilon"])
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert out.count("Reported") == len(values.split())


@pytest.mark.parametrize("value", ["0.37", "0", "0.123456"])
def test_tables_fit_80_columns(run: Run, value: str) -> None:
    code, out, err = explain(run, value)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    assert f"Reported: {value}, that is" in out
    assert "The right attack" in " ".join(out.split()) or "combinations gives the number" in " ".join(out.split())


def test_the_remedy_for_several_budgets(run: Run) -> None:
    found = document(run, "0.4", "0.2", "--eps", "4,8/255")
    assert [claim["epsilon"] for claim in found["claims"]] == [4 / 255, 8 / 255]


def test_out_refuses_another_claim(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path / "run")
    first = document(run, "0.37", "--out", place)
    monkeypatch.setattr(explain_module, "explain_spec", None)
    assert document(run, "0.37", "--out", place) == first
    for words in (
        ["0.38"],
        ["0.370"],
        ["0.37", "0.2"],
        ["0.37", "--n", "100"],
        ["0.37", "--eps", "4/255"],
        ["0.37", "--max-bad", "1"],
    ):
        code, out, err = explain(run, *words, "--out", place)
        assert (code, out) == (2, "")
        assert "must hold a run with the same settings" in err


@pytest.mark.parametrize(
    ("value", "words", "message"),
    [
        ("37", [], "did you mean 0.37?"),
        ("lots", [], "value must be a share or a percentage, got 'lots'"),
        ("0.37", ["--norm", "2"], "norm must be inf, whose mistakes are known, got 2"),
        ("0.37", ["--eps", "1,2/255"], "this takes one epsilon, got 2: pass one number for each epsilon"),
        ("0.37", ["0.2", "37"], "did you mean 0.37?"),
        ("0.37", ["--n", "0"], "n must be at least 1"),
        ("0.37", ["--targeted", "class:Ankel boot"], "did you mean Ankle boot?"),
        ("0.37", ["--batch-size", "0"], "batch size must be auto or a positive integer"),
    ],
)
def test_bad_settings_exit_2(run: Run, tmp_path: Path, value: str, words: list[str], message: str) -> None:
    code, out, err = explain(run, value, "--out", str(tmp_path / "run"), *words)
    assert (code, out) == (2, "")
    assert err.startswith("rfgsm: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()
