"""A kill, signal or disk error at each system call: the continued run equals the undisturbed one, and nothing is left behind."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from robustbench_fgsm.cli.main import main
from tests.runs.system_calls import DISK_ERRORS, FAILING, FAILING_ONCE, INTERRUPTIONS, KILLED, NAMES, run_counted

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
    "log": f"evaluate {SMALL} --log-dir {{}}/log --out {{}}/run --name main",
    "explain": f"explain 0.37 {SMALL} --out {{}}",
    "verify": "verify robustbench_fgsm:fgsm --quiet --json --csv {}/tables --plot {}/curves.png --junit {}/verdict.xml",
    "benchmark": f"benchmark {SMALL} --references none --levels none --rounds 1 --no-memory --out {{}}",
    "gate": "gate RUN --baseline RUN --json --csv {}/tables --html {}/page.html --junit {}/verdict.xml --badge {}/badge.json",
    "lock": "lock RUN --json --output {}/robustness.lock --csv {}/tables",
    "report": "report RUN --quiet --output {}/page.html",
    "plot": "plot RUN --quiet --output {}/figure.pdf",
    "export": "runs show RUN --json --export {}/images.jsonl",
    "parquet": "runs show RUN --json --export {}/images.parquet",
}
"""Each command writes in one directory, a run or files of their own; RUN is a finished evaluation."""

VARYING = ("seconds", "speedup", "checksum", "environment", "noise", "roofline", "contenders")
"""Keys of a document whose values differ between two runs."""

HOLDING_TIMES = (".bin", ".npz", ".pt", ".html", ".log", ".xml")

EVERY_CALL = os.environ.get("RFGSM_TEST_EVERY_CALL", "")
"""A file to which the number of disturbed calls is appended; without it one call of each command is disturbed."""

UNDISTURBED = ("log", "explain", "verify", "benchmark", "gate", "lock", "report", "plot", "export", "parquet")
"""Commands that the sample, which is short, disturbs by an error alone."""

SAMPLE = [
    *((command, "kill") for command in COMMANDS if command not in UNDISTURBED),
    *((command, "full") for command in ("attack", "transfer", "train", "pages")),
    *((command, "error") for command in COMMANDS),
    *((command, "interrupt") for command in ("evaluate", "sweep", "train", "verify", "benchmark", "gate", "report", "export")),
    *((command, "interrupt-twice") for command in ("attack", "transfer", "compare", "pages")),
]
ALL = [(command, action) for command in COMMANDS for action in ("kill", "kill-after", "full", "error", *INTERRUPTIONS)]


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
            is_counted = file.suffix in HOLDING_TIMES or file.name == ".lock"
            found[name] = None if is_counted else file.read_bytes()
        else:
            found[name] = "directory"
    return found


def printed_document(printed: Path, out: Path) -> Any:
    """Return the JSON that a command printed, without times and the directory."""
    return without_times(json.loads(Path(f"{printed}.out").read_text().replace(str(out), "OUT") or "{}"))


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
    is_kill, is_interrupted = action.startswith("kill"), action in INTERRUPTIONS
    code, _ = run_counted(words, out, printed, number, DISK_ERRORS[number % len(DISK_ERRORS)] if action == "error" else action)
    err = Path(f"{printed}.err").read_text()
    if (code, err.count("\n")) != ((KILLED, 0) if is_kill else (130, 1) if is_interrupted else (5, 1)):
        return f"exit {code}: {err[-300:]}"
    if is_interrupted and not err.startswith("rfgsm: interrupted"):
        return f"no interruption: {err}"
    if not (is_kill or is_interrupted or (str(out) in err and "choose another" in err)):
        return f"no place and remedy: {err}"
    if partial := [name for name in final_files(out) if not is_whole(out / name, expected.get(str(name)))]:
        return f"partial {partial}"
    if not (is_kill or is_interrupted) and (left := [file.name for file in out.rglob(".*.????????")]):
        return f"left {left}"
    code, _ = run_counted(words, out, printed)
    if code:
        return f"then exit {code}: {Path(f'{printed}.err').read_text()[-300:]}"
    found = content(out)
    wrong = [name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)]
    if printed_document(printed, out) != document:
        wrong.append("what it prints")
    return f"then other files: {wrong}" if wrong else ""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a finished evaluation."""
    out = tmp_path_factory.mktemp("finished") / "run"
    with pytest.raises(SystemExit):
        main([*shlex.split(f"evaluate {SMALL}"), "--out", str(out)])
    return out


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("command", "action"), ALL if EVERY_CALL else SAMPLE)
def test_each_call_may_fail(tmp_path: Path, finished: Path, command: str, action: str) -> None:
    whole, printed = tmp_path / "whole", tmp_path / "printed"
    line = COMMANDS[command].replace("RUN", str(finished))
    code, calls = run_counted(shlex.split(line.replace("{}", str(whole))), whole, printed)
    assert code == 0, Path(f"{printed}.err").read_text()
    expected, document = content(whole), printed_document(printed, whole)
    assert expected.get("result.json", document) == document
    failing = {"full": FAILING, "error": FAILING_ONCE}.get(action, NAMES)
    numbers = [number for number, name in enumerate(calls, 1) if name in failing]
    assert len(numbers) >= 4
    if not EVERY_CALL:
        numbers = [numbers[sum(map(ord, command + action)) % len(numbers)]]  # another one for each command
    wrong = {f"{number} {calls[number - 1]}": disturb(line, tmp_path, number, action, expected, document) for number in numbers}
    failed = {call: found for call, found in wrong.items() if found}
    assert not failed, "\n".join(f"{call}: {found}" for call, found in failed.items())
    if EVERY_CALL:
        with Path(EVERY_CALL).open("a") as file:
            file.write(f"{command} {action}: {len(numbers)} calls\n")
