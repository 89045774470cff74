"""A kill or a full disk at each system call: the continued run equals the undisturbed one, and nothing is left behind."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.runs.system_calls import FAILING, KILLED, run_counted

SMALL = "--limit 40 --batch-size 16 --quiet --json --model mlp300"
COMMANDS = {
    "evaluate": f"evaluate {SMALL} --keep-images 4 --min-robust-accuracy 0",
    "sweep": f"sweep {SMALL} --eps 4,8/255 --keep-images 4",
    "attack": f"attack {SMALL} --shard-size 16",
    "npz": f"attack {SMALL} --shard-size 16 --save-as npz",
    "png": f"attack {SMALL} --shard-size 4 --save-as png --limit 6",
    "compare": f"compare {SMALL} --references none --candidate robustbench_fgsm:fgsm",
    "transfer": "transfer --source mlp300 --target mlp300 --target mlp600 --limit 40 --batch-size 16 --quiet --json",
    "train": "train --model mlp300 --limit 80 --batch-size 32 --epochs 1 --held-out 20 --quiet --json",
}
VARYING = ("seconds", "speedup", "checksum", "environment")
"""Keys of a document whose values differ between two runs."""

EVERY_CALL = os.environ.get("RFGSM_TEST_EVERY_CALL", "")
"""A file to which the number of disturbed calls is appended; without it one call of each command is disturbed."""

SAMPLE = [(command, "kill") for command in COMMANDS] + [(command, "full") for command in ("attack", "transfer", "train")]
ALL = [(command, action) for command in COMMANDS for action in ("kill", "kill-after", "full")]


@pytest.fixture(autouse=True)
def _quick(one_thread: None) -> None:
    """Every test here runs on one thread."""


def without_times(value: Any) -> Any:
    """Return a document without what differs between two runs."""
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key not in VARYING and "per_second" not in key}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def content(out: Path) -> dict[str, Any]:
    """Return all files of a run: JSON without times, others as bytes; of ledgers, which hold times, and locks the names."""
    found: dict[str, Any] = {}
    for file in sorted(out.rglob("*")):
        name = str(file.relative_to(out))
        if file.suffix == ".json":
            found[name] = without_times(json.loads(file.read_text()))
        elif file.is_file():
            is_counted = file.suffix in (".bin", ".npz", ".pt") or file.name == ".lock"  # the last two hold times of their own
            found[name] = None if is_counted else file.read_bytes()
        else:
            found[name] = "directory"
    return found


def disturb(words: list[str], place: Path, number: int, action: str, expected: dict[str, Any]) -> str:
    """Return what is wrong with a run that is disturbed at one call, and then repeated."""
    out, printed = place / "disturbed", place / "printed"
    shutil.rmtree(out, ignore_errors=True)
    code, _ = run_counted([*words, "--out", str(out)], out, printed, number, action)
    err = Path(f"{printed}.err").read_text()
    if (code, err.count("\n")) != ((5, 1) if action == "full" else (KILLED, 0)):
        return f"exit {code}: {err[-300:]}"
    for file in out.rglob("*.json") if out.exists() else ():
        json.loads(file.read_text())  # whole
    if action == "full" and (left := [file.name for file in out.rglob(".*.????????")]):
        return f"left {left}"
    code, _ = run_counted([*words, "--out", str(out)], out, printed)
    if code:
        return f"then exit {code}: {Path(f'{printed}.err').read_text()[-300:]}"
    found = content(out)
    wrong = [name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)]
    if without_times(json.loads(Path(f"{printed}.out").read_text())) != expected["result.json"]:
        wrong.append("what it prints")
    return f"then other files: {wrong}" if wrong else ""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("command", "action"), ALL if EVERY_CALL else SAMPLE)
def test_each_call_may_be_the_last(tmp_path: Path, command: str, action: str) -> None:
    words, whole = shlex.split(COMMANDS[command]), tmp_path / "whole"
    code, calls = run_counted([*words, "--out", str(whole)], whole, tmp_path / "printed")
    assert code == 0
    expected = content(whole)
    numbers = [number for number, name in enumerate(calls, 1) if action != "full" or name in FAILING]
    assert len(numbers) >= 4
    if not EVERY_CALL:
        numbers = [numbers[sum(map(ord, command + action)) % len(numbers)]]  # another one for each command
    wrong = {f"{number} {calls[number - 1]}": disturb(words, tmp_path, number, action, expected) for number in numbers}
    assert {call: found for call, found in wrong.items() if found} == {}
    if EVERY_CALL:
        with Path(EVERY_CALL).open("a") as file:
            file.write(f"{command} {action}: {len(numbers)} calls\n")
