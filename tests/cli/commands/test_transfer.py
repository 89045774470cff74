"""`rfgsm transfer` as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import robustbench_fgsm as rf
from robustbench_fgsm.engine.batch_size import choose_batch_size
from robustbench_fgsm.report.schemas import load_schema

Run = Callable[..., tuple[int, str, str]]
PAIR = ["--source", "mlp300", "--source", "mlp600:standard"]


def transfer(run: Run, *words: str) -> tuple[int, str, str]:
    return run("transfer", *PAIR, "--limit", "64", "--device", "cpu", "--quiet", *words)


@pytest.mark.usefixtures("one_thread")
def test_document_matches_the_library(run: Run) -> None:
    code, out, err = transfer(run, "--json", "--common")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    Draft202012Validator(load_schema("transfer")).validate(found)
    models, images = ([rf.load_classifier(name) for name in ("mlp300", "mlp600")], rf.load_data("fashion-mnist", limit=64))
    same = rf.transfer(models, models, images, common=True).to_dict()
    assert found["cells"] == json.loads(json.dumps(same["cells"]))
    _, out, _ = run("evaluate", "--model", "mlp600", "--limit", "64", "--json", "--quiet")
    document = json.loads(out)
    alone = document["epsilons"][0]
    assert found["cells"][3]["epsilons"][0] | {"common_success_rate": None, "per_class": None} == {
        "epsilon": alone["epsilon"],
        "robust_accuracy": alone["robust_accuracy"],
        "attack_success_rate": alone["attack_success_rate"],
        "common_success_rate": None,
        "per_class": None,
        "nonfinite_outputs": document["outputs"]["nonfinite_after_share"]["count"],
    }


@pytest.mark.usefixtures("one_thread")
def test_tables_and_figures(run: Run, tmp_path: Path) -> None:
    words = ("--target", "smallcnn:robust", "--eps", "4,8/255", "--common", "--per-class", "--out", str(tmp_path / "run"))
    code, out, err = transfer(run, *words, "--plot", str(tmp_path / "map.png"))
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines()[:-1])) <= 80  # the answer is one line
    for text in ("smallcnn (robust)", "from 0", "to 2", "64", "Sandal"):
        assert text in out
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    code, _, _ = run("plot", str(tmp_path / "run"), "-o", str(tmp_path / "again.svg"), "--eps", "4/255", "--quiet")
    assert code == 0
    assert b"<svg" in (tmp_path / "again.svg").read_bytes()
    _, out, _ = run("runs", "list", str(tmp_path / "run"), "--json")
    assert json.loads(out)["runs"][0]["model"] == "mlp300, mlp600, smallcnn"
    code, out, _ = transfer(run, *words, "--format", "markdown")
    assert code == 0
    assert "Common success at epsilon 8/255" in out
    code, out, err = transfer(run, *words, "--seed", "1")
    assert (code, out) == (2, "")
    assert "seed" in err


@pytest.mark.usefixtures("one_thread")
def test_uses_the_smallest_batch_size(run: Run, tmp_path: Path) -> None:
    words, place = ("--source", "mlp300", "--target", "smallcnn"), tmp_path / "run"
    code, out, _ = run("transfer", *words, "--limit", "8", "--quiet", "--out", str(place))
    assert code == 0
    assert out.startswith("FGSM from 1 model to 1, on 8 images")
    asked = json.loads((place / "manifest.json").read_text())["batch_size"]
    data = rf.load_data("fashion-mnist", limit=8)
    assert asked == min(choose_batch_size("auto", rf.load_classifier(name), data) for name in ("mlp300", "smallcnn"))
    assert json.loads((place / "result.json").read_text())["batch_size"] == asked < 256
    other = tmp_path / "other"
    for size, expected in (("4", 0), ("auto", 0), ("8", 2)):
        code, _, err = run("transfer", *words, "--limit", "8", "--quiet", "--out", str(other), "--batch-size", size)
        assert code == expected
    assert "batch_size 4 there, 8 now" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "nosuch"], "nosuch"),
        (["--target", "mlp300:nosuch"], "nosuch"),
        (["--eps", "8"], "did you mean 8/255"),
        (["--plot", "map.txt"], "must be a file that ends in"),
        (["--targeted", "shift:10"], "shift"),
    ],
)
def test_bad_input_exits_2(run: Run, tmp_path: Path, words: list[str], message: str) -> None:
    code, out, err = transfer(run, *words, "--out", str(tmp_path / "run"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "run").exists()
