"""Commands on a network with several labels for each image: one document, kept, continued, exported and drawn."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.report.schemas import load_schema

Run = Callable[..., tuple[int, str, str]]
NETWORK = """
from pathlib import Path

import torch
from torch import nn


def heads():
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.Sigmoid())
    network.load_state_dict(torch.load(Path(__file__).parent / "heads.pt"))
    return network
"""
NAMES = ("cat", "dog", "sky", "sea")
WORDS = ("--model", "factory:net.py:heads", "--data", "npz:data.npz", "--task", "multilabel", "--eps", "0.05")
N = 60


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.Sigmoid())
    images = torch.rand(N, 3, 4, 4)
    with torch.no_grad():
        labels = (network(images) + 0.1 * torch.randn(N, 4) > 0.5).long()
    torch.save(network.state_dict(), "heads.pt")
    Path("net.py").write_text(NETWORK)
    np.savez("data.npz", images=images.numpy(), labels=labels.numpy(), classes=np.array(NAMES))
    return tmp_path


def measured() -> rf.Evaluation:
    classifier = rf.load_classifier("factory:net.py:heads", task="multilabel")
    return rf.evaluate(classifier, rf.load_data("npz:data.npz", task="multilabel"), 0.05)


def test_evaluate_and_library_agree(run: Run, place: Path) -> None:
    code, out, _ = run("evaluate", *WORDS, "--json")
    document = json.loads(out)
    Draft202012Validator(load_schema("evaluation")).validate(document)
    assert code == 0
    assert document["epsilons"] == measured().to_dict()["epsilons"]
    assert (document["data"]["task"], document["model"]["settings"]["task"]) == ("multilabel", "multilabel")


@pytest.mark.parametrize("command", ["evaluate", "sweep"])
def test_a_run_goes_on_where_it_was_interrupted(run: Run, place: Path, command: str) -> None:
    words = (command, *WORDS, "--batch-size", "8", "--out", "run", "--json")
    whole = json.loads(run(*words)[1])
    result, ledger = Path("run/result.json"), Path("run/ledger-00000.bin")
    result.unlink()
    ledger.write_bytes(ledger.read_bytes()[:3000])
    again = json.loads(run(*words)[1])
    key = "epsilons" if command == "evaluate" else "evaluations"
    pairs = [(document if command == "evaluate" else document[key][0])["epsilons"] for document in (whole, again)]
    assert pairs[0] == pairs[1]
    result.unlink()
    assert run("runs", "resume", "run", "--trust-model-code", "--quiet")[0] == 0
    code, _, err = run(*[word for word in words if word not in ("--task", "multilabel")])
    assert (code, "multi-hot labels" in err) == (2, True)


def test_each_image_is_exported(run: Run, place: Path) -> None:
    run("evaluate", *WORDS, "--out", "run")
    for name in ("images.csv", "images.jsonl", "images.parquet"):
        assert run("runs", "show", "run", "--export", name)[0] == 0
    rows = [json.loads(line) for line in Path("images.jsonl").read_text().splitlines()]
    labels = np.load("data.npz")["labels"]
    assert [row["label"] for row in rows] == [" ".join(map(str, np.flatnonzero(row))) or "none" for row in labels]
    right = sum(row["before"] == row["label"] for row in rows)
    assert right == measured().clean_accuracy.count
    fooled = [row for row in rows if row["minimal_epsilon"] is not None]
    assert len(fooled) == measured().tallies[0].attack_success_rate.count
    with Path("images.csv").open() as stream:
        assert [row["before"] for row in csv.DictReader(stream)] == [row["before"] for row in rows]


def test_tables_name_exact_match_and_labels(run: Run, place: Path) -> None:
    for command in ("evaluate", "sweep", "attack"):
        _, out, _ = run(command, *WORDS, "--out", command, "--csv", f"{command}-tables")
        text = " ".join(out.split())
        assert "an image is right if all its labels are (exact match)" in text
        assert "Hamming loss" in text
        assert "--pgd-check" not in text
    with Path("evaluate-tables/per_class.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    found = measured().to_dict()["epsilons"][0]["per_class"]
    (absent, false), (missed, hit) = found[1]["confusion"]
    assert [int(rows[1][f"after: {kind}"]) for kind in ("found", "missed", "false", "absent")] == [hit, missed, false, absent]
    assert not Path("evaluate-tables/confusion.csv").exists()


@pytest.mark.reference
def test_compare_with_art(run: Run, place: Path) -> None:
    code, out, _ = run("compare", *WORDS, "--json")
    document = json.loads(out)
    Draft202012Validator(load_schema("comparison")).validate(document)
    assert (code, document["verdict"]) == (0, "agree")
    assert document["ours"]["labels"] == document["references"][0]["labels"] == measured().to_dict()["epsilons"][0]["labels"]
    assert "Labels right and fooled" in run("compare", *WORDS)[1]


def test_saved_images_are_checked(run: Run, place: Path) -> None:
    code, out, _ = run("attack", *WORDS, "--out", "saved", "--json")
    Draft202012Validator(load_schema("attack")).validate(json.loads(out))
    assert code == 0
    assert run("attack", "--check", "saved", "--trust-model-code")[0] == 0


def test_what_needs_one_class_an_image_is_one_line(run: Run, place: Path) -> None:
    run("evaluate", *WORDS, "--out", "run")
    for words, problem, remedy in [
        (("plot", "run", "-o", "a.png"), "choose kind per-class or curve", ("plot", "run", "--kind", "per-class", "-o", "a.png")),
        (("gate", "run", "--baseline", "run"), "one class an image", None),
        (("evaluate", *WORDS, "--targeted", "next"), "leave targeted out", ("evaluate", *WORDS)),
        (("lock", "run"), "one class an image", None),
        (("evaluate", *WORDS, "--distance"), "leave distance out", ("evaluate", *WORDS)),
        (("evaluate", *WORDS, "--restarts", "2"), "leave restarts out", ("evaluate", *WORDS)),
        (("evaluate", *WORDS, "--limit", "9", "--sample", "stratified"), "pass --sample random", None),
        (("evaluate", *WORDS, "--labels-from", "1"), "leave them out", ("evaluate", *WORDS)),
        (("evaluate", *WORDS[:4], *WORDS[6:]), "pass --task multilabel", ("evaluate", *WORDS)),
        (("evaluate", *WORDS[:2], "--data", "fashion-mnist", *WORDS[4:]), "leave task multilabel out", None),
        (("evaluate", *WORDS[:5], "multi-label"), "did you mean multilabel", ("evaluate", *WORDS)),
    ]:
        code, _, err = run(*words)
        assert (code, problem in err) == (2, True), (words, err)
        if remedy is not None:
            assert run(*remedy)[0] == 0


def test_the_page_shows_each_label(run: Run, place: Path) -> None:
    run("evaluate", *WORDS, "--out", "run")
    assert run("report", "run", "-o", "page.html")[0] == 0
    assert "exact match" in Path("page.html").read_text()


def test_label_columns_of_a_table(run: Run, place: Path) -> None:
    arrays = np.load("data.npz")
    header = ",".join([*(f"f{place}" for place in range(48)), *NAMES])
    table = np.column_stack([arrays["images"].reshape(N, -1), arrays["labels"]])
    np.savetxt("table.csv", table, fmt="%.9g", delimiter=",", header=header, comments="")
    words = ("--data", "table.csv", "--labels-key", ",".join(NAMES), "--shape", "3x4x4")
    code, out, _ = run("evaluate", *WORDS[:2], *words, *WORDS[4:], "--json")
    assert code == 0
    assert json.loads(out)["epsilons"] == measured().to_dict()["epsilons"]
