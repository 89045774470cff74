"""`rfgsm compare` as a user meets it: what it prints, what it returns, and what it says of bad input."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.comparison import compare as module
from robustbench_fgsm.engine import environment
from robustbench_fgsm.references import art

Run = Callable[..., tuple[int, str, str]]


def compare(run: Run, *words: str) -> tuple[int, str, str]:
    return run("compare", "--model", "mlp300", "--limit", "64", *words)


@pytest.mark.reference
def test_json_is_one_document(run: Run) -> None:
    code, out, err = compare(run, "--json")
    document = json.loads(out)
    assert (code, document["exit_code"], document["verdict"], document["n"]) == (0, 0, "agree", 64)
    assert document["attack"]["epsilon"] == 8 / 255
    assert "standard weights" in err


KEYS = {
    "": "schema status exit_code invalid_reasons warnings environment seconds verdict model data attack n ours references "
    "candidate",
    "model": "spec weights parameters sha256",
    "data": "spec n fingerprint classes",
    "attack": "norm targeted loss bounds seed",
    "environment": "package python torch device",
    "seconds": "total",
    "ours": "clean_accuracy robust_accuracy attack_success_rate clean_confusion confusion per_class seconds",
    "ours.seconds": "attack job",
    "ours.robust_accuracy": "value count n low high",
    "ours.per_class.0": "label name n clean_correct robust_accuracy attack_success_rate most_common_wrong",
    "references.0": "name version verdict max_abs_difference pixels pixels_differing pixels_explained images_differing "
    "pixels_equal max_ulps discordant own_success pixels_tied "
    "predictions_agree robust_accuracy attack_success_rate confusion per_class seconds speedup reasons",
    "references.0.seconds": "attack job",
    "references.0.discordant": "ours_only theirs_only",
    "references.0.own_success": "definition rate",
    "references.0.own_success.rate": "value count n low high",
}
"""Keys of `rfgsm.comparison/1` that programs rely on, by their place."""


@pytest.fixture(scope="module")
def document(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(rf.compare(classifier, images).to_dict(), allow_nan=False))
    return found


@pytest.mark.reference
@pytest.mark.parametrize("place", KEYS)
def test_document_keys(document: dict[str, Any], place: str) -> None:
    found: Any = document
    for key in filter(None, place.split(".")):
        found = found[int(key) if key.isdigit() else key]
    assert found.keys() >= set(KEYS[place].split())


@pytest.mark.reference
def test_numbers_are_consistent(document: dict[str, Any]) -> None:
    classes = document["data"]["classes"]
    for side in (document["ours"], *document["references"]):
        matrix, rate = side["confusion"], side["robust_accuracy"]
        assert [len(row) for row in matrix] == [len(classes)] * len(classes)
        assert sum(map(sum, matrix)) == rate["n"] == document["n"] == document["data"]["n"] == 256
        assert sum(matrix[label][label] for label in range(len(classes))) == rate["count"]
        assert [result["name"] for result in side["per_class"]] == classes
        assert [result["n"] for result in side["per_class"]] == [sum(row) for row in matrix]
    assert document["references"][0]["pixels"] == 256 * 28 * 28


@pytest.mark.reference
def test_disagreement_exits_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(art.ArtReference, "fgsm", lambda self, x, y, epsilon: 1 - x)
    code, out, _ = compare(run, "--json")
    document = json.loads(out)
    assert (code, document["exit_code"], document["verdict"], document["status"]) == (1, 1, "disagree", "complete")
    assert document["references"][0]["reasons"]


@pytest.mark.reference
def test_every_norm_and_the_weights_none(run: Run) -> None:
    for words in (["--norm", "2", "--eps", "1"], ["--norm", "1.5", "--eps", "2"], ["--weights", "none"]):
        code, out, _ = compare(run, *words, "--json")
        assert (code, json.loads(out)["verdict"]) == (0, "agree")


@pytest.mark.reference
def test_tables_fit_80_columns(run: Run) -> None:
    code, out, _ = compare(run, "--targeted", "next")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    for name in ("T-shirt/top", "Ankle boot", "Confusion before", "Confusion after", "Worst class", "AGREE"):
        assert name in out


@pytest.mark.reference
def test_quiet_prints_only_the_result(run: Run) -> None:
    assert compare(run, "--quiet", "--json")[2] == ""


@pytest.mark.reference
def test_runs_as_a_program() -> None:
    words = [sys.executable, "-m", "robustbench_fgsm", "compare", "--model", "mlp300", "--limit", "16", "--json", "--quiet"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["schema"] == "rfgsm.comparison/1"


BAD: dict[str, tuple[list[str], str]] = {
    "no model": (["compare"], "--model"),
    "unknown model": (["compare", "--model", "resnet81"], "did you mean resnet18?"),
    "unknown weights": (["compare", "--model", "mlp300", "--weights", "robust"], "got 'robust'"),
    "missing weights": (["compare", "--model", "mlp300", "--weights", "none.safetensors"], "does not exist"),
    "unknown data": (["compare", "--model", "mlp300", "--data", "fashion"], "did you mean fashion-mnist"),
    "epsilon over 255": (["compare", "--model", "mlp300", "--eps", "8"], "did you mean 8/255?"),
    "negative epsilon": (["compare", "--model", "mlp300", "--eps", "-1"], "finite number >= 0"),
    "no epsilon": (["compare", "--model", "mlp300", "--eps", "x"], "8/255 or 0.03"),
    "several epsilons": (["compare", "--model", "mlp300", "--eps", "1,2/255"], "one epsilon"),
    "no norm": (["compare", "--model", "mlp300", "--norm", "0.5"], "p >= 1"),
    "no images": (["compare", "--model", "mlp300", "--limit", "0"], "limit must be an integer >= 1, got 0"),
    "limit that is no number": (["compare", "--model", "mlp300", "--limit", "ten"], "--limit"),
    "batch size": (["compare", "--model", "mlp300", "--batch-size", "x"], "auto or a positive integer"),
    "device": (["compare", "--model", "mlp300", "--device", "tpu9"], "device must be"),
    "target rule": (["compare", "--model", "mlp300", "--targeted", "nxt"], "did you mean next?"),
    "target class": (["compare", "--model", "mlp300", "--targeted", "class:Boot"], "targeted class"),
    "reference": (["compare", "--model", "mlp300", "--references", "arty"], "did you mean art?"),
    "seed": (["compare", "--model", "mlp300", "--seed", "-1"], "seed must be"),
    "option": (["compare", "--modle", "mlp300"], "--modle"),
    "command": (["compere"], "compere"),
    "list": (["list", "modles"], "modles"),
}


@pytest.mark.parametrize("words", BAD.values(), ids=BAD.keys())
def test_bad_input_exits_2(run: Run, words: tuple[list[str], str]) -> None:
    code, out, err = run(*words[0], *(["--quiet"] if words[0][0] == "compare" else []))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("rfgsm: ")
    assert words[1] in err


def test_debug_shows_where_the_error_is_raised(run: Run) -> None:
    code, out, err = compare(run, "--norm", "0.5", "--debug")
    assert (code, out) == (2, "")
    assert "Traceback (most recent call last)" in err
    assert "SettingError: norm must be inf, 1, 2 or any real p >= 1" in err


@pytest.mark.reference
def test_out_keeps_the_result(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = str(tmp_path / "run")
    _, first, _ = compare(run, "--out", where, "--json")
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == json.loads(first)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(module, "compare_spec", never)
    assert compare(run, "--out", where, "--json")[1] == first


@pytest.mark.reference
def test_out_refuses_other_settings(run: Run, tmp_path: Path) -> None:
    compare(run, "--out", str(tmp_path), "--quiet")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    code, _, err = compare(run, "--out", str(tmp_path), "--eps", "4/255", "--quiet")
    assert code == 2
    assert "epsilons" in err
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.reference
@pytest.mark.parametrize(
    ("what", "difference"),
    [
        ("package", f'package "{rf.__version__}" there, "99.0" now'),
        ("reference", f'references.art "{version("adversarial-robustness-toolbox")}" there, "99.0" now'),
        ("device", 'device "cpu" there, "meta" now'),
    ],
)
def test_out_refuses_another_version_or_device(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, difference: str
) -> None:
    compare(run, "--out", str(tmp_path), "--quiet")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    if what == "package":
        monkeypatch.setattr(environment, "installed_version", lambda name: "99.0" if name == "robustbench-fgsm" else version(name))
    elif what == "reference":
        monkeypatch.setattr("robustbench_fgsm.registry.version", lambda name: "99.0")
    else:
        monkeypatch.setattr(rf.TorchClassifier, "device", torch.device("meta"))
        monkeypatch.setattr("robustbench_fgsm.engine.preflight.preflight", lambda *_, **__: [])  # nothing computes there
    code, out, err = compare(run, "--out", str(tmp_path), "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"with {difference}: choose another directory" in err
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_out_with_foreign_files_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    code, _, err = compare(run, "--out", str(tmp_path), "--quiet")
    assert code == 2
    assert "other files" in err
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_out_refuses_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    code, out, err = compare(run, "--out", str(tmp_path / "thesis.tex"), "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "which is a file" in err
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_out_not_writable_exits_5(run: Run, tmp_path: Path) -> None:
    code, out, err = compare(run, "--out", str(tmp_path / ("x" * 300)), "--quiet")
    assert (code, out, err.count("\n")) == (5, "", 1)
    assert "must be writable, got File name too long" in err


def test_bad_settings_make_no_directory(run: Run, tmp_path: Path) -> None:
    assert compare(run, "--out", str(tmp_path / "run"), "--targeted", "class:Boot", "--quiet")[0] == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("what", "name"), [("models", "resnet18"), ("data", "fashion-mnist"), ("references", "art")])
def test_list(run: Run, what: str, name: str) -> None:
    code, out, _ = run("list", what)
    assert code == 0
    assert name in out
    document = json.loads(run("list", what, "--json")[1])
    assert name in [row["name"] for row in document[what]]


def test_interrupted_exits_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "compare_spec", interrupt)
    assert compare(run)[0] == 130


MINE = """
print("a module that prints")
def right(image, epsilon, data_grad):
    print("a function that prints")
    return (image + epsilon * data_grad.sign()).clamp(0, 1)
def wrong(image, epsilon, data_grad):
    return (image - epsilon * data_grad.sign()).clamp(0, 1)
def broken(image, epsilon, data_grad):
    raise ValueError("no luck")
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


def own(run: Run, candidate: str, *words: str) -> tuple[int, str, str]:
    return compare(run, "--candidate", candidate, "--style", "tutorial", "--references", "none", *words)


def test_an_agreeing_candidate_exits_0(run: Run, mine: str) -> None:
    code, out, err = own(run, f"{mine}:right", "--json", "--quiet")
    document = json.loads(out)
    assert (code, document["verdict"], document["candidate"]["name"]) == (0, "agree", "mine.py:right")
    assert (document["references"], document["candidate"]["diagnosis"]) == ([], [])
    assert err.splitlines() == ["a module that prints", "a function that prints"]


@pytest.mark.parametrize(("name", "reason"), [("wrong", "pixels differ by up to"), ("broken", "it raised ValueError: no")])
def test_a_wrong_candidate_exits_1(run: Run, mine: str, name: str, reason: str) -> None:
    code, out, _ = own(run, f"{mine}:{name}")
    assert code == 1
    assert f"DISAGREE: ours and mine.py:{name}: " in out
    assert reason in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.reference
def test_a_candidate_adds_a_row(run: Run, mine: str) -> None:
    code, out, _ = compare(run, "--candidate", f"{mine}:right", "--style", "tutorial")
    assert code == 0
    rows = re.findall(r"^(ours|art|candidate) .*\d\.\d\d *$", out, re.MULTILINE)
    assert rows == ["ours", "art", "candidate"]
    assert out.count("AGREE: ours and ") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--candidate", "none.py:fgsm"], "which does not exist"),
        (["--candidate", "adv.npz"], "which does not exist"),
        (["--candidate", "mine"], "must look like file.py:fn"),
        (["--candidate", "json:dumps", "--style", "plan"], "did you mean plain?"),
        (["--candidate", "json:dumps", "--style", "normalised"], "style normalised calls"),
        (["--references", "none"], "at least one if there is no candidate"),
    ],
)
def test_bad_candidates_exit_2(run: Run, words: list[str], message: str) -> None:
    code, out, err = compare(run, *words, "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_pickle_candidate_exits_4(run: Run, tmp_path: Path) -> None:
    (tmp_path / "adv.pt").write_bytes(b"")
    assert compare(run, "--candidate", str(tmp_path / "adv.pt"), "--quiet")[0] == 4


def test_out_identifies_a_candidate_by_content(run: Run, mine: str, tmp_path: Path) -> None:
    where = str(tmp_path / "run")
    assert own(run, f"{mine}:right", "--out", where, "--quiet")[0] == 0
    assert own(run, f"{mine}:right", "--out", where, "--quiet")[0] == 0
    Path(mine).write_text(MINE.replace("image +", "image -"))
    code, _, err = own(run, f"{mine}:right", "--out", where, "--quiet")
    assert code == 2
    assert "candidate.sha256" in err
