"""`rfgsm attack` as a user meets it: crafted, continued, verified, and what it says where it cannot."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import robustbench_fgsm as rf
from robustbench_fgsm.models.cards import WEIGHTS_FOLDER
from robustbench_fgsm.report.schemas import load_schema
from robustbench_fgsm.runs.attack import save

Run = Callable[..., tuple[int, str, str]]

FORMATS = ["safetensors", "npz", "png"]


def attack(run: Run, out: Path, *words: str) -> tuple[int, str, str]:
    return run("attack", "--model", "mlp300", "--limit", "60", "--out", str(out), "--shard-size", "25", *words)


def names(out: Path) -> list[str]:
    return sorted(place.name for place in out.iterdir() if place.name != ".lock")


@pytest.mark.parametrize("form", FORMATS)
def test_saved_images_verify(tmp_path: Path, run: Run, form: str) -> None:
    code, out, err = attack(run, tmp_path / "kept", "--save-as", form, "--targeted", "next", "--json")
    document = json.loads(out)
    Draft202012Validator(load_schema("attack")).validate(document)
    assert (code, document["n"], document["output"]["format"]) == (0, 60, form)
    assert document == json.loads((tmp_path / "kept/manifest.json").read_text())
    assert "standard weights" in err
    suffix = "" if form == "png" else f".{form}"
    shards = [f"adversarial-0000{number}{suffix}" for number in range(3)]
    assert names(tmp_path / "kept") == [*shards, "images.safetensors", "manifest.json", "result.json"]
    code, out, _ = run("attack", "--check", str(tmp_path / "kept"), "--json")
    found = json.loads(out)
    Draft202012Validator(load_schema("attack-check")).validate(found)
    assert (code, found["verdict"], found["replay"]["images_equal"]) == (0, "verified", 60)


def test_tables_show_both_rates(tmp_path: Path, run: Run) -> None:
    code, out, err = attack(run, tmp_path / "kept", "--save-as", "png", "--norm", "2", "--eps", "1.5", "--quiet")
    assert (code, err) == (0, "")
    assert "as computed" in out
    assert "in 8 bits" in out
    assert "0 of 47,040 pixels have no 8-bit value" in " ".join(out.split())
    assert "Saved 60 images in 3 png shards." in out
    assert max(map(len, out.splitlines())) <= 80
    code, out, err = run("attack", "--check", str(tmp_path / "kept"), "--limit", "5", "--quiet")
    assert (code, err) == (0, "")
    assert "Crafted again: 25 of 25 images are equal to the last bit" in " ".join(out.split())  # a batch is 25 images
    assert out.endswith("\nVERIFIED.\n")


def test_the_same_command_continues(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = save.save_shard

    def stop(out: Path, nothing: Any, kind: Any, number: int, shard: Any) -> Any:
        if number == 1:
            raise KeyboardInterrupt
        return keep(out, nothing, kind, number, shard)

    with monkeypatch.context() as patch:
        patch.setattr(save, "save_shard", stop)
        code, out, err = attack(run, tmp_path)
    assert (code, out) == (130, "")
    assert names(tmp_path) == ["adversarial-00000.safetensors", "manifest.json"]
    first = (tmp_path / "adversarial-00000.safetensors").stat().st_mtime_ns
    code, _, err = attack(run, tmp_path, "--eps", "4/255", "--quiet")
    assert code == 2
    assert "attack.epsilon 8/255 there, 4/255 now" in err
    assert attack(run, tmp_path)[0] == 0
    assert (tmp_path / "adversarial-00000.safetensors").stat().st_mtime_ns == first
    assert run("attack", "--check", str(tmp_path))[0] == 0


def test_check_runs_a_trusted_data_function(tmp_path: Path, run: Run) -> None:
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\n"
        "import robustbench_fgsm as rf\n"
        f"Path({str(tmp_path / 'ran')!r}).touch()\n"
        "def some():\n"
        "    return rf.load_data('fashion-mnist', limit=8)\n"
    )
    words = ["--model", "mlp300", "--weights", "standard", "--data", f"factory:{tmp_path / 'mine.py'}:some"]
    code, _, err = run("attack", *words, "--out", str(tmp_path / "kept"), "--quiet")
    assert code == 0, err
    (tmp_path / "ran").unlink()
    check = ["attack", "--check", str(tmp_path / "kept"), "--quiet"]
    code, _, err = run(*check)
    assert (code, "--trust-data-code" in err, (tmp_path / "ran").exists()) == (4, True, False)
    assert run(*check, "--trust-data-code")[0] == 0
    code, _, err = run("attack", *words, "--out", str(tmp_path / "kept"), "--trust-data-code")
    assert (code, "got no --check" in err) == (2, True)


def test_a_failed_check_names_the_file(tmp_path: Path, run: Run) -> None:
    attack(run, tmp_path)
    file = tmp_path / "adversarial-00001.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    code, out, _ = run("attack", "--check", str(tmp_path))
    assert code == 1
    assert f"{file.name}: expected " in out
    assert out.endswith("\nNOT VERIFIED.\n")


def test_finds_moved_weights(tmp_path: Path, run: Run) -> None:
    weights, moved = tmp_path / "own.safetensors", tmp_path / "moved.safetensors"
    shutil.copyfile(WEIGHTS_FOLDER / "mlp300-fashion-mnist-standard.safetensors", weights)
    assert attack(run, tmp_path / "kept", "--weights", str(weights))[0] == 0
    weights.rename(moved)
    check = ["attack", "--check", str(tmp_path / "kept")]
    code, _, err = run(*check)
    assert code == 2
    assert f"got {weights}, which does not exist" in err
    assert run(*check, "--weights", str(moved))[0] == 0
    code, out, _ = run("attack", "--check", str(tmp_path / "kept"), "--weights", "none")
    assert code == 1
    assert "weights: expected sha256" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "attack needs --model NAME and --out DIR to craft, or --check DIR: see rfgsm attack --help"),
        (["--model", "mlp300"], "attack needs --model NAME and --out DIR to craft"),
        (["--out", "x"], "attack needs --model NAME and --out DIR to craft"),
        (["--check", "x", "--eps", "4/255", "--shard-size", "7"], "got --eps, --shard-size: leave them out"),
        (["--check", "x", "--keep-images", "3"], "--check takes its settings from the manifest, got --keep-images"),
        (["--check", "x", "--model", "mlp300"], "--check takes its settings from the manifest, got --model"),
        (["--check", "nowhere"], "check needs a directory that `rfgsm attack` wrote, got nowhere"),
        (["--model", "mlp300", "--out", "x", "--eps", "1,2/255"], "takes one epsilon, got 2"),
        (["--model", "mlp300", "--out", "x", "--save-as", "jpg"], "save as must be one of safetensors, npz, png, got 'jpg'"),
        (["--model", "mlp300", "--out", "x", "--shard-size", "0"], "shard size must be a positive integer, got 0"),
        (["--model", "mlp300", "--out", "x", "--loss", "mse"], "loss must be one of"),
        (["--model", "mlp300", "--out", "x", "--restarts", "-1"], "restarts must be an integer >= 0"),
    ],
)
def test_wrong_usage_exits_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, words: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("attack", *words, "--quiet")
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_exits_5(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = os.fsync, iter(range(100))

    def full(handle: int) -> None:
        if next(count) == 6:  # the second shard
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    code, out, err = attack(run, tmp_path, "--quiet")
    assert (code, out) == (5, "")
    assert "must be writable, got No space left on device" in err
    monkeypatch.setattr(os, "fsync", real)
    assert names(tmp_path) == ["adversarial-00000.safetensors", "manifest.json"]
    assert attack(run, tmp_path)[0] == run("attack", "--check", str(tmp_path))[0] == 0


def test_a_second_process_exits_5(tmp_path: Path, run: Run) -> None:
    from robustbench_fgsm.files.directory_lock import lock_directory

    with lock_directory(tmp_path):
        code, _, err = attack(run, tmp_path, "--quiet")
    assert code == 5
    assert "must be used by one process at a time" in err


def test_check_takes_its_options(run: Run, tmp_path: Path) -> None:
    arguments = signature(rf.check_adversarial).parameters.keys() - {"out", "classifier", "data", "progress"}
    flags = {f"--{name.replace('_', '-')}" for name in arguments}
    code, _, err = run("attack", "--check", str(tmp_path), *flags - {"--weights", "--limit", "--device"}, "--limit", "1")
    assert (code, flags) == (2, {"--weights", "--limit", "--device", "--trust-model-code", "--trust-data-code"})
    assert "leave them out" not in err
