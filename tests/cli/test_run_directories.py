"""What a run directory may hold in place of its files: links, pipes and malformed JSON, for every command that reads it."""

from __future__ import annotations

import copy
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robustbench_fgsm.cli.main import main
from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.runs.piece_format import decode_piece, encode_piece, read_head, scan_records

Run = Callable[..., tuple[int, str, str]]
SMALL = "--model mlp300 --limit 40 --batch-size 16 --quiet"
COMMANDS = {
    "evaluate": f"evaluate {SMALL} --keep-images 4",
    "sweep": f"sweep {SMALL} --eps 4,8/255",
    "sweep targeted": f"sweep {SMALL} --eps 4,8/255 --targeted none --targeted random",
    "attack": f"attack {SMALL} --shard-size 20",
    "attack png": f"attack {SMALL} --shard-size 20 --save-as png",
    "compare": f"compare {SMALL} --references none --candidate robustbench_fgsm:fgsm",
    "transfer": "transfer --source mlp300 --target mlp300 --target smallcnn --limit 40 --batch-size 16 --quiet",
    "train": "train --model mlp300 --limit 80 --batch-size 32 --epochs 1 --held-out 20 --quiet",
    "explain": "explain 21.3% --model mlp300 --limit 40 --quiet",
    "benchmark": "benchmark --model mlp300 --limit 16 --rounds 1 --references none --no-memory --quiet",
}
FILES = {
    "evaluate": [".lock", "manifest.json", "result.json", "ledger-00000.bin", "images.safetensors", "rank-00000.log"],
    "sweep": ["ledger-00000.bin"],
    "attack": [".lock", "manifest.json", "result.json", "adversarial-00000.safetensors", ".shards-00001.jsonl"],
    "attack png": ["adversarial-00000"],
    "transfer": ["ledger-00000.bin", "result.json"],
    "train": ["checkpoint.pt", "log.jsonl", "weights.safetensors", "model-card.json", "manifest.json"],
}
PLACES = [(command, name) for command, names in FILES.items() for name in names]
READERS = ["runs list {}", "runs show {}", "runs resume {}", "report {} --output {}/page.html", "gate {} --baseline {}"]


@pytest.fixture(autouse=True)
def _quick(one_thread: None) -> None:
    """Every test here runs on one thread."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A finished run of a command, made once, to copy."""
    root = tmp_path_factory.mktemp("finished")

    def make(command: str) -> Path:
        place = root / command.replace(" ", "-")
        if not place.exists():
            with pytest.raises(SystemExit) as done:
                main([*shlex.split(COMMANDS[command]), "--out", str(place)])
            assert not done.value.code
        return place

    return make


def link(kind: str, file: Path, target: Path) -> None:
    if file.is_dir():
        shutil.move(file, target)
    else:
        shutil.move(file, target) if file.exists() else target.write_bytes(b"precious\n")
    if kind == "symbolic":
        file.symlink_to(target)
    else:
        file.hardlink_to(target)


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
@pytest.mark.parametrize(("command", "name"), PLACES)
def test_follows_no_link(run: Run, finished: Callable[[str], Path], tmp_path: Path, command: str, name: str, kind: str) -> None:
    out, target = tmp_path / "run", tmp_path / "precious"
    shutil.copytree(finished(command), out)
    if kind == "hard" and (out / name).is_dir():
        return  # no system links directories
    link(kind, out / name, target)
    content = None if target.is_dir() else target.read_bytes()
    log = ["--log-dir", str(out)] if name.endswith(".log") else []
    code, _, err = run(*shlex.split(COMMANDS[command]), "--out", str(out), *log)
    assert (code, len(err.splitlines())) == (4, 1), err
    assert f"{name} must be a file of its own, got a {kind} link to another file" in err
    assert content is None or target.read_bytes() == content


@pytest.mark.parametrize("name", [".lock", "manifest.json", "ledger-00000.bin"])
@pytest.mark.parametrize("reader", READERS)
def test_readers_change_nothing_behind_a_link(
    run: Run, finished: Callable[[str], Path], tmp_path: Path, reader: str, name: str
) -> None:
    out, target = tmp_path / "run", tmp_path / "precious"
    shutil.copytree(finished("evaluate"), out)
    (out / "result.json").unlink()
    link("symbolic", out / name, target)
    before = target.read_bytes()
    code, _, err = run(*reader.replace("{}", str(out)).split())
    assert code in (2, 4)
    assert len(err.splitlines()) == 1
    assert target.read_bytes() == before


@pytest.mark.parametrize("name", [".lock", "manifest.json", "result.json", "ledger-00000.bin"])
@pytest.mark.parametrize("reader", [*READERS, "evaluate"])
@pytest.mark.timeout(60)
def test_a_pipe_is_one_line(run: Run, finished: Callable[[str], Path], tmp_path: Path, reader: str, name: str) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished("evaluate"), out)
    if name != "result.json":
        (out / "result.json").unlink()
    (out / name).unlink()
    os.mkfifo(out / name)
    words = f"{COMMANDS['evaluate']} --out {out}" if reader == "evaluate" else reader.replace("{}", str(out))
    code, _, err = run(*words.split())
    if name == "ledger-00000.bin" and reader.startswith("report"):
        assert "must be a directory with result.json" in err
    assert (code, len(err.splitlines())) == (2, 1), err


def test_the_directory_itself_may_be_a_link(run: Run, finished: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(finished("evaluate"))
    for words in (f"{COMMANDS['evaluate']} --out {tmp_path}/link", f"runs show {tmp_path}/link", f"runs list {tmp_path}/link"):
        assert run(*words.split())[0] == 0


@pytest.mark.parametrize(
    ("content", "found"),
    [(b'{"a": NaN}', "NaN"), (b"\xff", "utf-8"), (b'{"n": 1, "n": 2}', "'n' twice"), (b'{"a":' * 10_000, "nested")],
)
@pytest.mark.parametrize("reader", READERS[:4])
@pytest.mark.parametrize("name", ["manifest.json", "result.json"])
def test_malformed_json_is_one_line(
    run: Run, finished: Callable[[str], Path], tmp_path: Path, name: str, reader: str, content: bytes, found: str
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished("evaluate"), out)
    (out / name).write_bytes(content)
    code, _, err = run(*reader.replace("{}", str(out)).split())
    assert (code, len(err.splitlines())) == (2, 1), err
    assert f"{name} must" in err
    assert found in err


def places(document: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Places of the values in a document; of a list the first value alone."""
    parts = document.items() if isinstance(document, dict) else enumerate(document[:1]) if isinstance(document, list) else ()
    for key, value in parts:
        yield (*path, key)
        if len(path) < 3:
            yield from places(value, (*path, key))


@pytest.mark.parametrize("value", [None, "x", [], 10**18])
@pytest.mark.parametrize("name", ["manifest.json", "result.json"])
def test_no_value_is_a_traceback(run: Run, finished: Callable[[str], Path], tmp_path: Path, name: str, value: object) -> None:
    """Every nineteenth value in a document is replaced, by turns."""
    out, whole = tmp_path / "run", finished("sweep")
    shutil.copytree(whole, out)
    document = json.loads((whole / name).read_text())
    start = (None, "x", [], 10**18).index(value)
    for place in list(places(document))[start::19]:
        changed = copy.deepcopy(document)
        parent: Any = changed
        for key in place[:-1]:
            parent = parent[key]
        parent[place[-1]] = value
        (out / name).write_text(json.dumps(changed))
        for words in (f"runs show {out}", f"gate {out} --baseline {whole}", f"runs resume {out} --quiet"):
            code, _, err = run(*words.split())
            assert code in (0, 1, 2, 4), (place, words, err)
            assert "Traceback" not in err


@pytest.mark.parametrize("command", [*COMMANDS])
def test_a_stored_result_that_lacks_a_field_is_one_line(
    run: Run, finished: Callable[[str], Path], tmp_path: Path, command: str
) -> None:
    """A command returns the result of a finished run, of which each field was removed, or replaced by a list."""
    out = tmp_path / "run"
    shutil.copytree(finished(command), out)
    document = json.loads((out / "result.json").read_text())
    codes = set()
    for key in document:
        for changed in ({name: value for name, value in document.items() if name != key}, document | {key: [{"x": -1}]}):
            (out / "result.json").write_text(json.dumps(changed))
            code, _, err = run(*shlex.split(COMMANDS[command]), "--out", str(out))
            assert code in (0, 1, 2), (key, err)
            assert code < 2 or len(err.splitlines()) == 1, (key, err)
            codes.add(code)
    assert (2 in codes) == (command not in ("attack", "attack png", "train")), "their results are made again from the other files"


def with_outcomes(record: PieceRecord, change: Callable[[Any], dict[str, Any]]) -> PieceRecord:
    """The record with other columns in each attack."""
    return replace(record, outcomes=tuple(replace(one, **change(one)) for one in record.outcomes))


Records = list[PieceRecord]
LIES: dict[str, Callable[[Records], Records]] = {
    "reversed": lambda records: records[::-1],
    "twice": lambda records: records * 2,
    "of another piece": lambda records: [replace(records[0], number=1), *records[1:]],
    "swapped": lambda records: [replace(records[0], number=1), replace(records[1], number=0), *records[2:]],
    "long": lambda records: [replace(record, seconds=1e308) for record in records],
    "ids of others": lambda records: [with_outcomes(records[0], lambda one: {"ids": one.ids + 16}), *records[1:]],
    "ids of nothing": lambda records: [with_outcomes(records[0], lambda one: {"ids": one.ids + 10**9}), *records[1:]],
    "ids in another order": lambda records: [with_outcomes(records[0], lambda one: {"ids": one.ids[::-1].copy()}), *records[1:]],
    "labels": lambda records: [with_outcomes(records[0], lambda one: {"labels": (one.labels + 1) % 10}), *records[1:]],
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("command", ["evaluate", "sweep targeted", "transfer"])
def test_no_lying_record_changes_a_number(
    run: Run, finished: Callable[[str], Path], tmp_path: Path, command: str, lie: str
) -> None:
    """The records are encoded again, with right hashes: what cannot be of this run is measured again, or refused."""
    out, ledger = tmp_path / "run", "ledger-00000.bin"
    shutil.copytree(finished(command), out)
    content = (out / ledger).read_bytes()
    parts = [content[start:stop] for _, start, stop in scan_records(content)]
    records = LIES[lie]([decode_piece(part) for part in parts])
    (out / ledger).write_bytes(b"".join(encode_piece(record, read_head(parts[0])["run"]) for record in records))
    (out / "result.json").unlink()
    code, _, err = run(*shlex.split(COMMANDS[command]), "--out", str(out))
    assert code in (0, 2), err
    assert len(err.splitlines()) == (1 if code else 0)
    if not code:
        found, expected = (json.loads((place / "result.json").read_text()) for place in (out, finished(command)))
        assert untimed(found) == untimed(expected)


def untimed(value: Any) -> Any:
    """The document without times."""
    if isinstance(value, dict):
        return {
            key: untimed(part) for key, part in value.items() if key not in ("seconds", "environment") and "per_second" not in key
        }
    return [untimed(part) for part in value] if isinstance(value, list) else value
