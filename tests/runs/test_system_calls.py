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
    "evaluate": f"evaluate {SMALL} --keep-images 4 --min-robust-accuracy 0 --out {{}}",
    "sweep": f"sweep {SMALL} --eps 4,8/255 --keep-images 4 --out {{}}",
    "attack": f"attack {SMALL} --shard-size 16 --out {{}}",
    "npz": f"attack {SMALL} --shard-size 16 --save-as npz --out {{}}",
    "png": f"attack {SMALL} --shard-size 4 --save-as png --limit 6 --out {{}}",
    "compare": f"compare {SMALL} --references none --candidate robustbench_fgsm:fgsm --out {{}}",
    "transfer": "transfer --source mlp300 --target mlp300 --target mlp600 --limit 40 --batch-size 16 --quiet --json --out {}",
    "train": "train --model mlp300 --limit 80 --batch-size 32 --epochs 1 --held-out 20 --quiet --json --out {}",
    "pages": f"evaluate {SMALL} --csv {{}}/tables --html {{}}/page.html",
    "figure": f"sweep {SMALL} --eps 4,8/255 --plot {{}}/figure.png",
}
"""Each command writes in one directory, a run or files of their own."""

VARYING = ("seconds", "speedup", "checksum", "environment")
"""Keys of a document whose values differ between two runs."""

EVERY_CALL = os.environ.get("RFGSM_TEST_EVERY_CALL", "")
"""A file to which the number of disturbed calls is appended; without it one call of each command is disturbed."""

SAMPLE = [(command, "kill") for command in COMMANDS] + [(command, "full") for command in ("attack", "transfer", "train", "pages")]
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
            is_counted = file.suffix in (".bin", ".npz", ".pt", ".html") or file.name == ".lock"  # which hold times of their own
            found[name] = None if is_counted else file.read_bytes()
        else:
            found[name] = "directory"
    return found


def printed_document(printed: Path) -> Any:
    """Return the JSON that a command printed, without times."""
    return without_times(json.loads(Path(f"{printed}.out").read_text()))


def final_files(out: Path) -> list[Path]:
    """Return the files outside of temporary directories."""
    found = [file.relative_to(out) for file in out.rglob("*") if file.is_file()]
    return [file for file in found if not any(part.startswith(".") for part in file.parts[:-1])]


def is_whole(file: Path, expected: Any) -> bool:
    """Return True if a file has all its content, as far as that does not vary."""
    if file.suffix == ".json":
        return bool(json.loads(file.read_text()))
    if file.suffix == ".jsonl":  # a log, which grows
        return file.read_text().endswith("\n") and bytes(expected).startswith(file.read_bytes())
    return "</html>" in file.read_text() if file.suffix == ".html" else expected is None or file.read_bytes() == expected


def disturb(command: str, place: Path, number: int, action: str, expected: dict[str, Any], document: Any) -> str:
    """Return what is wrong with a run that is disturbed at one call, and then repeated."""
    out, printed = place / "disturbed", place / "printed"
    words = shlex.split(command.replace("{}", str(out)))
    shutil.rmtree(out, ignore_errors=True)
    code, _ = run_counted(words, out, printed, number, action)
    err = Path(f"{printed}.err").read_text()
    if (code, err.count("\n")) != ((5, 1) if action == "full" else (KILLED, 0)):
        return f"exit {code}: {err[-300:]}"
    if partial := [name for name in final_files(out) if not is_whole(out / name, expected.get(str(name)))]:
        return f"partial {partial}"
    if action == "full" and (left := [file.name for file in out.rglob(".*.????????")]):
        return f"left {left}"
    code, _ = run_counted(words, out, printed)
    if code:
        return f"then exit {code}: {Path(f'{printed}.err').read_text()[-300:]}"
    found = content(out)
    wrong = [name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)]
    if printed_document(printed) != document:
        wrong.append("what it prints")
    return f"then other files: {wrong}" if wrong else ""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("command", "action"), ALL if EVERY_CALL else SAMPLE)
def test_each_call_may_be_the_last(tmp_path: Path, command: str, action: str) -> None:
    whole, printed = tmp_path / "whole", tmp_path / "printed"
    code, calls = run_counted(shlex.split(COMMANDS[command].replace("{}", str(whole))), whole, printed)
    assert code == 0
    expected, document = content(whole), printed_document(printed)
    assert expected.get("result.json", document) == document
    numbers = [number for number, name in enumerate(calls, 1) if action != "full" or name in FAILING]
    assert len(numbers) >= 4
    if not EVERY_CALL:
        numbers = [numbers[sum(map(ord, command + action)) % len(numbers)]]  # another one for each command
    wrong = {
        f"{number} {calls[number - 1]}": disturb(COMMANDS[command], tmp_path, number, action, expected, document)
        for number in numbers
    }
    assert {call: found for call, found in wrong.items() if found} == {}
    if EVERY_CALL:
        with Path(EVERY_CALL).open("a") as file:
            file.write(f"{command} {action}: {len(numbers)} calls\n")
