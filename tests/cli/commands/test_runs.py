"""`rfgsm runs`: what is on disk, what became of each image, and going on after an interrupt."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from jsonschema import Draft202012Validator

from robustbench_fgsm.cli.main import main
from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.files.directory_lock import lock_directory
from robustbench_fgsm.report.schemas import load_schema
from robustbench_fgsm.runs.directory import MANIFEST_FILE, RESULT_FILE
from robustbench_fgsm.runs.ledger import LedgerStore, ledger_name

Run = Callable[..., tuple[int, str, str]]
SWEEP = shlex.split("sweep --model mlp300 --limit 60 --batch-size 16 --eps 4,8/255 --targeted none --targeted next --quiet")


def document(run: Run, schema: str, *words: str) -> dict[str, Any]:
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    Draft202012Validator(load_schema(schema)).validate(found)
    return found


def counts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Evaluations without times."""
    return [{key: part[key] for key in part if key != "seconds"} for part in document["evaluations"]]


def signal_after(monkeypatch: pytest.MonkeyPatch, pieces: int, number: signal.Signals) -> None:
    """Send this process that signal once so many pieces are kept."""
    keep, kept = LedgerStore.keep, 0

    def keep_and_send(store: LedgerStore, record: PieceRecord) -> None:
        nonlocal kept
        keep(store, record)
        kept += 1
        if kept == pieces:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(LedgerStore, "keep", keep_and_send)


@pytest.fixture(autouse=True)
def _quick(one_thread: None) -> None:
    """Every test here runs on one thread."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep, to copy."""
    place, before = tmp_path_factory.mktemp("finished") / "sweep", torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.raises(SystemExit) as done:
        main([*SWEEP, "--out", str(place)])
    torch.set_num_threads(before)
    assert not done.value.code
    return place


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> str:
    """The same in a directory of its own."""
    return str(shutil.copytree(finished, tmp_path / "results/sweep"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_resumes_an_interrupted_run(
    run: Run, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    stopped, before = str(tmp_path / "stopped"), signal.getsignal(number)
    if number == signal.SIGINT:
        signal.signal(number, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
    usual = signal.getsignal(number)
    try:
        with monkeypatch.context() as patch:
            signal_after(patch, 2, number)
            assert run(*SWEEP, "--out", stopped) == (130, "", f"rfgsm: interrupted: rfgsm runs resume {stopped} continues\n")
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)
    shown = document(run, "run-shown", "runs", "show", stopped)
    assert (shown["state"], shown["done"], shown["pieces"], shown["result"]) == ("interrupted", 2, 4, None)
    resumed = document(run, "sweep", "runs", "resume", stopped, "--quiet")
    whole = json.loads((Path(place) / RESULT_FILE).read_text())
    assert counts(resumed) == counts(whole)
    assert document(run, "run-shown", "runs", "show", stopped)["state"] == "complete"
    again = document(run, "sweep", *SWEEP, "--out", stopped)
    assert again == resumed  # the command itself finds the result as well


def test_a_resumed_run_keeps_its_gates(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gates are no settings: the last ones asked for count, and their exit code."""
    place = str(tmp_path / "gated")
    words = shlex.split(f"evaluate --model mlp300 --limit 60 --batch-size 16 --quiet --json --out {place}")
    with monkeypatch.context() as patch:
        signal_after(patch, 2, signal.SIGTERM)
        assert run(*words, "--min-robust-accuracy", "0.99")[0] == 130
    code, out, _ = run("runs", "resume", place, "--quiet", "--json")
    assert (code, json.loads(out)["exit_code"]) == (1, 1)
    assert [(gate["threshold"], gate["passed"]) for gate in json.loads(out)["gates"]] == [(0.99, False)]
    assert run(*words, "--max-asr", "1")[0] == 0
    code, out, _ = run("runs", "resume", place, "--quiet", "--json")
    assert (code, [gate["name"] for gate in json.loads(out)["gates"]]) == (0, ["max_asr"])
    found = json.loads(run(*SWEEP, "--json", "--find-asr", "0.2", "--out", str(tmp_path / "sweep"))[1])
    assert found["evaluations"][0]["find_asr"]["success_rate"] == 0.2
    assert json.loads(run("runs", "resume", str(tmp_path / "sweep"), "--quiet", "--json")[1]) == found


def test_resumes_trusted_data_functions(run: Run, tmp_path: Path) -> None:
    place = str(tmp_path / "run")
    (tmp_path / "mine.py").write_text(
        f"from pathlib import Path\nimport robustbench_fgsm as rf\nPath({str(tmp_path / 'ran')!r}).touch()\n"
        "def some(): return rf.load_data('fashion-mnist', limit=40)\n"
    )
    words = [
        "evaluate",
        "--model",
        "mlp300",
        "--weights",
        "standard",
        "--data",
        f"factory:{tmp_path / 'mine.py'}:some",
        "--quiet",
        "--json",
    ]
    code, out, err = run(*words, "--out", place)
    assert code == 0, err
    (Path(place) / RESULT_FILE).unlink()
    (tmp_path / "ran").unlink()
    code, _, err = run("runs", "resume", place, "--quiet")
    assert (code, "--trust-data-code" in err, (tmp_path / "ran").exists()) == (4, True, False)
    code, again, err = run("runs", "resume", place, "--quiet", "--json", "--trust-data-code")
    assert code == 0, err
    assert json.loads(again)["epsilons"] == json.loads(out)["epsilons"]


def test_lists_every_kind_of_run(run: Run, place: str, tmp_path: Path) -> None:
    small = ["--model", "mlp300", "--limit", "20", "--quiet", "--out"]
    for command in ("attack", "compare", "evaluate"):
        assert run(command, *small, str(tmp_path / command))[0] == 0
    (tmp_path / "evaluate" / RESULT_FILE).unlink()
    (tmp_path / "evaluate" / ledger_name(0)).unlink()
    with lock_directory(Path(place)):
        found = document(run, "runs", "runs", "list", str(tmp_path))["runs"]
    assert [(Path(one["path"]).name, one["command"], one["state"], one["done"], one["pieces"]) for one in found] == [
        ("attack", "attack", "complete", None, None),
        ("compare", "compare", "complete", None, None),
        ("evaluate", "evaluate", "interrupted", 0, 1),
        ("sweep", "sweep", "complete", 4, 4),
    ]
    assert {one["n"] for one in found} == {20, 60}
    (Path(place) / RESULT_FILE).unlink()
    with lock_directory(Path(place)):
        assert "started" in run("runs", "list", place)[1]
    table = run("runs", "list", str(tmp_path))[1]
    assert "interrupted" in table
    assert "100 %" in table


def test_lists_no_runs(run: Run, tmp_path: Path) -> None:
    assert run("runs", "list", str(tmp_path)) == (0, "no run here, nor in the directories below\n", "")


def test_samples_match_the_matrices(run: Run, place: str) -> None:
    shown = document(run, "run-shown", "runs", "show", place, "--outcomes", "1000")
    first, second = shown["result"]["evaluations"]
    for evaluation, rule in ((first, "none"), (second, "next")):
        rows = [row for row in shown["samples"] if row["targeted"] == rule]
        assert sorted(row["id"] for row in rows) == list(range(60))
        for after in evaluation["epsilons"]:
            name = f"after_{after['epsilon']!r}"
            for matrix, head in ((after["confusion"], "label"), (after["transition"], "before")):
                found = [[0] * 10 for _ in range(10)]
                for row in rows:
                    found[row[head]][row[name]] += 1
                assert found == matrix
        fooled = sum(row["minimal_epsilon"] is not None for row in rows)
        assert fooled == evaluation["minimal_epsilon"]["n"] - evaluation["minimal_epsilon"]["never"]
    assert {row["target"] for row in shown["samples"] if row["targeted"] == "none"} == {None}
    assert all(row["target"] == (row["label"] + 1) % 10 for row in shown["samples"] if row["targeted"] == "next")


def test_sample_table_fits_80_columns(run: Run, place: str) -> None:
    code, out, _ = run("runs", "show", place, "--outcomes", "3")
    above = out.split("mlp300 (standard)")[0].strip().splitlines()
    assert code == 0
    assert [line.split()[0] for line in above[-3:]] == ["0", "1", "2"]
    assert max(map(len, out.splitlines()[:-1])) <= 80  # the answer is one line


def test_exports_hold_the_same_rows(run: Run, place: str, tmp_path: Path) -> None:
    for kind in ("csv", "jsonl", "parquet"):
        assert run("runs", "show", place, "--export", str(tmp_path / f"samples.{kind}"))[0] == 0
    samples = document(run, "run-shown", "runs", "show", place, "--outcomes", "1000")["samples"]
    assert len(samples) == 120
    assert [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()] == samples
    assert pq.read_table(tmp_path / "samples.parquet").to_pylist() == samples
    with (tmp_path / "samples.csv").open(newline="") as stream:
        read = list(csv.DictReader(stream))
    texts = {True: "true", False: "false", None: ""}
    expected = [
        {key: texts[value] if value is None or isinstance(value, bool) else str(value) for key, value in row.items()}
        for row in samples
    ]
    assert read == expected


def test_damage_is_shown(run: Run, place: str) -> None:
    ledger = Path(place) / ledger_name(0)
    ledger.write_bytes(ledger.read_bytes()[:-5])
    shown = document(run, "run-shown", "runs", "show", place)
    assert (shown["done"], shown["damaged"]) == (3, 1)
    assert "Warning: 1 damaged" in run("runs", "show", place)[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("list {}/nowhere", "runs are listed below a directory, got "),
        ("show {}", "without manifest.json: check the path"),
        ("resume {}", "without manifest.json: check the path"),
        ("show {}/results/sweep --export {}/samples.xlsx", "--export takes .csv, .jsonl, .parquet, got samples.xlsx"),
    ],
)
@pytest.mark.usefixtures("place")
def test_bad_input_exits_2(run: Run, tmp_path: Path, words: str, said: str) -> None:
    code, out, err = run("runs", *words.format(tmp_path, tmp_path).split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_does_not_resume_an_attack(run: Run, tmp_path: Path) -> None:
    place = str(tmp_path / "attack")
    assert run("attack", "--model", "mlp300", "--limit", "20", "--quiet", "--out", place)[0] == 0
    code, _, err = run("runs", "resume", place)
    assert code == 2
    assert "run its own command again" in err
    assert run("runs", "show", place)[0] == 0


def test_runs_no_code_from_a_manifest(run: Run, place: str, tmp_path: Path) -> None:
    """Whoever wrote the directory could have it run anything."""
    (tmp_path / "gadget.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    file = Path(place) / MANIFEST_FILE
    manifest = json.loads(file.read_text())
    manifest["model"]["spec"] = f"factory:{tmp_path / 'gadget.py'}:make"
    file.write_text(json.dumps(manifest))
    code, _, err = run("runs", "resume", place)
    assert code == 4
    assert "--trust-model-code" in err
    assert not (tmp_path / "ran").exists()
    run("runs", "resume", place, "--trust-model-code")
    assert (tmp_path / "ran").exists()


def test_refuses_to_resume_another_model(run: Run, place: str) -> None:
    (Path(place) / RESULT_FILE).unlink()
    code, _, err = run("runs", "resume", place, "--weights", "none", "--quiet")
    assert code == 2
    assert "model.sha256" in err
