"""`rfgsm lock` as a user meets it, and `rfgsm gate` against a lock."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from robustbench_fgsm.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of a robust and of a standard network, and the lock of the robust one."""
    place, before = tmp_path_factory.mktemp("runs"), torch.get_num_threads()
    torch.set_num_threads(1)
    for name, words in {"strong": ["--weights", "robust", "--batch-size", "50"], "weak": ["--batch-size", "40"]}.items():
        with pytest.raises(SystemExit):
            main(["evaluate", "--model", "smallcnn", "--distance", "--limit", "200", *words, "--out", str(place / name), "--quiet"])
    with pytest.raises(SystemExit):
        main(["lock", str(place / "strong"), "-o", str(place / "robustness.lock")])
    torch.set_num_threads(before)
    return place


def gate(run: Run, now: Path, then: Path, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("gate", str(now), "--baseline", str(then), "--json", *words)[1])
    return found


@pytest.mark.parametrize("on", ["accuracy", "distance", "both"])
@pytest.mark.parametrize("name", ["weak", "strong"])
def test_a_lock_gives_the_verdict_of_its_run(run: Run, runs: Path, name: str, on: str) -> None:
    found, same = (gate(run, runs / name, runs / baseline, "--on", on) for baseline in ("robustness.lock", "strong"))
    for key in ("verdict", "exit_code", "n", "gradient", "drops", "decreases", "moved", "improved", "warnings", "attacks"):
        assert found[key] == same[key], key
    assert found["baseline"]["model"] == same["baseline"]["model"]
    assert found["verdict"] == {"weak": "failed", "strong": "passed"}[name]


def test_writes_into_the_current_folder(run: Run, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("lock", str(runs / "strong"))
    assert (code, err) == (0, "")
    assert "WROTE robustness.lock" in out
    assert (tmp_path / "robustness.lock").read_bytes() == (runs / "robustness.lock").read_bytes()
    assert json.loads(run("lock", str(runs / "weak"), "--json")[1])["path"] == "robustness.lock"


def test_a_better_run_asks_for_a_new_baseline(run: Run, runs: Path, tmp_path: Path) -> None:
    run("lock", str(runs / "weak"), "-o", str(tmp_path / "weak.lock"))
    code, out, _ = run("gate", str(runs / "strong"), "--baseline", str(tmp_path / "weak.lock"), "--max-drop", "0.4")
    assert code == 0
    assert "The run is better: make it the baseline." in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lock", "RUNS/nowhere"], "run must be a directory that --out made"),
        (["lock", "RUNS/strong", "-o", "RUNS/strong/result.json"], "is not a lock of rfgsm: remove it, or choose another path"),
        (
            ["gate", "RUNS/strong", "--baseline", "RUNS/none.lock"],
            "which is not there: check the path, or write it with rfgsm lock",
        ),
        (
            ["gate", "RUNS/strong", "--baseline", "RUNS/strong/manifest.json"],
            "pass the directory of a run, or a file of rfgsm lock",
        ),
    ],
)
def test_wrong_usage_exits_2(run: Run, runs: Path, words: list[str], message: str) -> None:
    code, out, err = run(*(word.replace("RUNS", str(runs)) for word in words))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_link_exits_4(run: Run, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "robustness.lock").symlink_to(runs / "robustness.lock")
    code, out, err = run("gate", str(runs / "strong"), "--baseline", str(tmp_path / "robustness.lock"))
    assert (code, out, err.count("\n")) == (4, "", 1)


def test_a_job_of_github_gets_its_summary_annotation_and_badge(
    run: Run, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    badge = tmp_path / "badge.json"
    words = ("--baseline", str(runs / "robustness.lock"), "--badge", str(badge))
    code, out, err = run("gate", str(runs / "weak"), *words, "--json")
    assert (code, json.loads(out)["verdict"]) == (1, "failed")
    assert err.startswith("::error title=robustness fell::smallcnn (standard) is less robust than smallcnn (robust)")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("**FAILED: accuracy fell")
    assert json.loads(badge.read_text(encoding="utf-8"))["color"] == "red"
    assert run("gate", str(runs / "strong"), *words)[2] == ""
    assert json.loads(badge.read_text(encoding="utf-8"))["color"] == "brightgreen"
