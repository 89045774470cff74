"""`rfgsm evaluate` as a user meets it: gates, files, and what it says of models and data that cannot be meant."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.registry import DATA_SOURCES, DataSource
from robustbench_fgsm.engine import environment
from robustbench_fgsm.report.schemas import load_schema

Run = Callable[..., tuple[int, str, str]]


def evaluate(run: Run, *words: str) -> tuple[int, str, str]:
    return run("evaluate", "--model", "mlp300", "--limit", "64", "--quiet", *words)


def document(run: Run, *words: str) -> tuple[int, dict[str, Any]]:
    code, out, err = evaluate(run, "--json", *words)
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    Draft202012Validator(load_schema("evaluation")).validate(found)
    assert found["exit_code"] == code
    return code, found


@pytest.mark.parametrize(
    ("words", "epsilon", "options"),
    [
        ("", "8/255", {}),
        ("--norm 2 --eps 1.5 --targeted random --seed 3", 1.5, {"norm": 2, "targeted": "random", "seed": 3}),
        ("--targeted class:Bag --restarts 1", "8/255", {"targeted": "class:Bag", "restarts": 1}),
        ("--stable --batch-size 50", "8/255", {"stable": True}),
        ("--loss margin --max-asr 0 --min-robust-accuracy 0", "8/255", {"loss": "margin"}),
    ],
)
def test_json_matches_the_library(
    run: Run, classifier: rf.TorchClassifier, words: str, epsilon: float | str, options: dict[str, Any]
) -> None:
    _, found = document(run, *words.split())
    assert (found["n"], len(found["epsilons"])) == (64, 1)
    same = rf.evaluate(classifier, rf.load_data("fashion-mnist", limit=64), epsilon, **options).to_dict()
    for key in ("epsilons", "clean", "attack", "gradient", "minimal_epsilon", "data"):
        assert found[key] == json.loads(json.dumps(same[key]))


def test_tables_fit_80_columns(run: Run) -> None:
    code, out, err = evaluate(run)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    for name in rf.load_data("fashion-mnist", limit=1).classes:
        assert out.count(f" {name}") >= 4


def test_gates_decide_the_exit_code(run: Run) -> None:
    code, found = document(run, "--min-robust-accuracy", "0", "--max-asr", "1")
    assert (code, [gate["passed"] for gate in found["gates"]]) == (0, [True, True])
    code, found = document(run, "--min-robust-accuracy", "1", "--max-asr", "1")
    assert (code, [gate["passed"] for gate in found["gates"]]) == (1, [False, True])
    assert [gate["name"] for gate in found["gates"]] == ["min_robust_accuracy", "max_asr"]
    code, out, _ = evaluate(run, "--min-robust-accuracy", "1")
    assert code == 1
    assert "FAILED: robust accuracy" in out


@pytest.mark.reference
@pytest.mark.usefixtures("one_thread")
def test_reports_the_pgd_check(run: Run) -> None:
    _, found = document(run, "--pgd-check", "32", "--check-masking")
    assert (found["pgd_check"]["n"], found["masking_check"]["n"]) == (32, 32)
    lead = found["pgd_check"]["overstated"]
    _, out, _ = evaluate(run, "--pgd-check", "32", "--check-masking")
    text = " ".join(out.split())
    ends = f"{100 * lead['value']:.1f} points [{100 * lead['low']:.1f}, {100 * lead['high']:.1f}]"
    assert f"FGSM overstates robust accuracy by {ends} at epsilon 8/255, on 32 images" in text
    assert "weak-attack: " in text
    assert "masking: none of the " in text
    assert "Not checked" not in text
    assert max(map(len, out.splitlines())) <= 80


def test_reports_a_missing_check(run: Run) -> None:
    _, found = document(run)
    assert (found["pgd_check"], found["masking_check"]) == (None, None)
    _, out, _ = evaluate(run)
    assert "Not checked: by how much FGSM overstates robust accuracy" in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--pgd-check 10 --norm 1 --eps 5", "norm inf or 2"),
        ("--check-masking --norm 1.5 --eps 5", "norm inf or 2"),
        ("--check-masking --targeted next", "untargeted"),
        ("--pgd-check 10 --loss probabilities", "logits"),
    ],
)
def test_an_impossible_check_exits_2(run: Run, tmp_path: Path, words: str, message: str) -> None:
    code, out, err = evaluate(run, *words.split(), "--out", str(tmp_path / "run"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "run").exists()


def test_gates_a_kept_result_again(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "run"
    code, first = document(run, "--out", str(place))
    assert (code, first["gates"]) == (0, [])
    monkeypatch.setattr("robustbench_fgsm.evaluation.evaluate.run_attacks", None)
    code, second = document(run, "--out", str(place), "--min-robust-accuracy", "1")
    assert (code, second["gates"][0]["passed"]) == (1, False)
    assert {key: second[key] for key in ("epsilons", "seconds")} == {key: first[key] for key in ("epsilons", "seconds")}
    assert json.loads((place / "result.json").read_text()) == second
    code, third = document(run, "--out", str(place))
    assert (code, third) == (0, first)


@pytest.mark.parametrize(
    "words",
    [["--eps", "4/255"], ["--loss", "margin"], ["--stable"], ["--restarts", "1"], ["--seed", "1"], ["--batch-size", "16"]],
    ids=" ".join,
)
def test_out_refuses_other_settings(run: Run, tmp_path: Path, words: list[str]) -> None:
    document(run, "--out", str(tmp_path / "run"))
    code, out, err = evaluate(run, "--out", str(tmp_path / "run"), *words)
    assert (code, out) == (2, "")
    assert "must hold a run with the same settings" in err
    assert err.count("\n") == 1


def test_out_refuses_another_version(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document(run, "--out", str(tmp_path))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    difference = f'package "{rf.__version__}" there, "99.0" now: choose another directory'
    monkeypatch.setattr(environment, "installed_version", lambda name: "99.0" if name == "robustbench-fgsm" else version(name))
    code, out, err = evaluate(run, "--out", str(tmp_path))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert difference in err
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_csv_as_a_directory_or_a_file(run: Run, tmp_path: Path) -> None:
    _, found = document(run, "--csv", str(tmp_path / "tables"))
    assert sorted(file.name for file in (tmp_path / "tables").iterdir()) == [
        "clean_confusion.csv",
        "confusion.csv",
        "per_class.csv",
        "rates.csv",
        "transition.csv",
    ]
    document(run, "--csv", str(tmp_path / "new" / "one.csv"))
    with (tmp_path / "new" / "one.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["gradient"] == "ordinary"]
    assert [int(row["robust_accuracy_count"]) for row in rows] == [
        result["robust_accuracy"]["count"] for result in found["epsilons"][0]["per_class"]
    ]


def test_markdown(run: Run) -> None:
    code, out, _ = evaluate(run, "--format", "markdown")
    assert code == 0
    assert out.count("| :-- |") >= 5
    assert "Ankle boot" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--eps", "8"], "did you mean 8/255?"),
        (["--eps", "1,2/255"], "this takes one epsilon, got 2: use sweep for several"),
        (["--loss", "cross"], "loss must be one of"),
        (["--loss", "margin", "--stable"], "stable needs loss ce"),
        (["--loss", "probabilities"], "model must return probabilities for loss probabilities, got logits"),
        (["--restarts", "-1"], "restarts must be an integer >= 0"),
        (["--max-asr", "30"], "max asr must be a share in [0, 1], got 30: did you mean 0.3?"),
        (["--min-robust-accuracy", "nan"], "min robust accuracy must be a share"),
        (["--json", "--format", "markdown"], "exclude each other"),
        (["--format", "pdf"], "pdf"),
        (["--targeted", "class:Ankel boot"], "did you mean Ankle boot?"),
        (["--batch-size", "0"], "batch size must be auto or a positive integer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_settings_exit_2(run: Run, tmp_path: Path, words: list[str], message: str) -> None:
    code, out, err = evaluate(run, "--out", str(tmp_path / "run"), *words)
    assert (code, out) == (2, "")
    assert err.startswith("rfgsm: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_refuses_an_impossible_csv_path_early(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustbench_fgsm.evaluation.evaluate.run_attacks", None)
    (tmp_path / "file").write_text("")
    (tmp_path / "place.csv").mkdir()
    for path in ("file/tables", "file/one.csv", "file", "place.csv", "n" * 300):
        code, _, err = evaluate(run, "--csv", str(tmp_path / path))
        assert code == 2
        assert "choose another path" in err
    assert (tmp_path / "file").read_text() == ""


def test_a_full_disk_exits_5(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    code, out, err = evaluate(run, "--csv", str(tmp_path / "one.csv"))
    assert (code, out) == (5, "")
    assert "No space left on device" in err
    assert list(tmp_path.iterdir()) == []


def broken_data(kind: str) -> rf.ArrayDataset:
    x, y = torch.rand(4, 1, 28, 28), torch.arange(4)
    if kind == "nan":
        x[1, 0, 3, 3] = math.nan
    classes = tuple(rf.load_data("fashion-mnist", limit=1).classes)
    if kind == "labels":
        y[2] = 10
    return rf.ArrayDataset("broken", 255 * x if kind == "0..255" else x, y, classes[:9] if kind == "classes" else classes)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "images must "),
        ("0..255", "pass images / 255"),
        ("labels", "labels must lie in [0, 10), got [0, 10]"),
        ("classes", "data must have the model's 10 classes, got 9"),
    ],
)
def test_invalid_data_exit_2(run: Run, monkeypatch: pytest.MonkeyPatch, kind: str, message: str) -> None:
    source = DataSource("broken", "as it should not be", lambda *_: broken_data(kind))
    points = [EntryPoint("broken", "broken:SOURCE", DATA_SOURCES.group)]
    monkeypatch.setattr(EntryPoint, "load", lambda _: source)
    monkeypatch.setattr("robustbench_fgsm.registry.entry_points", lambda group: points if group == DATA_SOURCES.group else [])
    code, out, err = evaluate(run, "--data", "broken", "--weights", "standard")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


class Ending(nn.Module):
    """A linear network with another end than logits, which counts how often it is asked."""

    asked = 0

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.end = nn.Linear(784, 10), end

    def forward(self, x: Tensor) -> Tensor:
        Ending.asked += 1
        return self.end(self.linear(x.flatten(1)))


def load_instead(monkeypatch: pytest.MonkeyPatch, end: Callable[[Tensor], Tensor]) -> None:
    monkeypatch.setattr("robustbench_fgsm.models.load.load_classifier", lambda *_, **__: rf.wrap(Ending(end), 10))


def test_probabilities_are_refused_before_an_attack(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    load_instead(monkeypatch, lambda logits: logits.softmax(1))
    before = Ending.asked
    code, out, err = evaluate(run)
    assert (code, out) == (2, "")
    assert "must return logits for loss ce, got probabilities" in err
    assert Ending.asked == before + 1
    assert document(run, "--loss", "probabilities")[0] == 0


def test_log_probabilities_give_a_warning(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    load_instead(monkeypatch, lambda logits: logits.log_softmax(1))
    code, found = document(run)
    assert code == 0
    assert any("log-probabilities" in warning for warning in found["warnings"])
    assert "Warning: the model returns log-probabilities" in evaluate(run)[1]


def test_another_number_of_outputs_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    load_instead(monkeypatch, lambda logits: logits[:, :7])
    code, _, err = evaluate(run)
    assert code == 2
    assert "must return logits (32, 10) for 32 images, got (32, 7)" in err


def test_nonfinite_gradients_exit_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    load_instead(monkeypatch, lambda logits: logits + (logits - logits.detach()).sqrt())
    code, found = document(run, "--max-asr", "1")
    assert (code, found["status"], found["gradient"]["nonfinite_share"]["count"]) == (1, "invalid", 64)
    assert "64 of 64 images have a gradient that is not finite" in found["invalid_reasons"][0]
    assert "INVALID: 64 of 64 images" in " ".join(evaluate(run)[1].split())


def test_saturated_networks_show_both_rates(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    load_instead(monkeypatch, lambda logits: 3000 * logits)
    _, found = document(run, "--eps", "64/255")
    assert found["gradient"]["saturated_share"]["value"] > 0.01
    assert "stable" in found["epsilons"][0]
    assert "ordinary" in evaluate(run, "--eps", "64/255")[1]


@pytest.mark.parametrize("kept", [False, True])
def test_preflight_runs_only_one_time(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    looked: list[str] = []

    def preflight(*given: Any, **settings: Any) -> list[str]:
        looked.append("once")
        return ["all pixels are dark"]

    monkeypatch.setattr("robustbench_fgsm.engine.preflight.preflight", preflight)
    code, found = document(run, *(["--out", str(tmp_path / "run")] if kept else []))
    assert code == 0
    assert looked == ["once"]
    assert found["warnings"][0] == "all pixels are dark"
