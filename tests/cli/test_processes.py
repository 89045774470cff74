"""Commands under torchrun: several processes give the integers of one, and none is left behind when one fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robustbench_fgsm.engine.distributed import World

Run = Callable[..., tuple[int, str, str]]
SMALL = ["--model", "mlp300", "--limit", "300", "--batch-size", "64"]
TROUBLE = """
import os, signal
from robustbench_fgsm.cli.main import main
from robustbench_fgsm.runs.ledger import LedgerStore

keep = LedgerStore.keep

def fail(store, record):
    keep(store, record)
    {trouble}

if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    LedgerStore.keep = fail
main()
"""
"""A program whose second process gets into trouble after its first piece, unless it was started again."""

SURVIVOR = """
import os, signal, sys, time
from pathlib import Path
from robustbench_fgsm.cli.main import main
from robustbench_fgsm.runs.ledger import LedgerStore

keep, place = LedgerStore.keep, Path(sys.argv[0]).parent

def fail(store, record):
    keep(store, record)
    if os.environ["RANK"] == "1":
        while not (place / "survivor").exists():
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)
    (place / "survivor").write_text(str(os.getpid()))
    with (place / "beats").open("ab", buffering=0) as beats:
        while True:
            time.sleep(0.1)
            beats.write(b".")

LedgerStore.keep = fail
main()
"""
"""A program of two processes that each do a piece; then the second is killed, and the first counts tenths of seconds."""


def torchrun(*words: str, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    """Two processes of a program, on this machine, with a thread each."""
    agent = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    return subprocess.run(
        [sys.executable, "-m", *agent, *words],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def counts(document: dict[str, Any]) -> dict[str, Any]:
    """A document without times, threads, and what a gate makes of it."""
    return {key: document[key] for key in ("n", "data", "model", "clean", "epsilons", "gradient", "minimal_epsilon")}


@pytest.fixture
def single(run: Run) -> dict[str, Any]:
    """What one process, this one, counts."""
    found: dict[str, Any] = json.loads(run("evaluate", *SMALL, "--quiet", "--json")[1])
    return found


@pytest.mark.parametrize("n", [0, 1, 7, 101])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_each_piece_has_one_share(n: int, size: int) -> None:
    shares = [World(rank, size).local_part(np.arange(n)) for rank in range(size)]
    assert np.concatenate(shares).tolist() == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.distributed
def test_two_processes_count_like_one(single: dict[str, Any], tmp_path: Path) -> None:
    """A gate that fails must not make torchrun start the run again: each process exits 0, and the document says 1."""
    words = ["evaluate", *SMALL, "--out", str(tmp_path / "run"), "--min-robust-accuracy", "0.99", "--json"]
    words += ["--log-dir", str(tmp_path / "logs")]
    done = torchrun("-m", "robustbench_fgsm", *words)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert counts(document) == counts(single)
    assert document["exit_code"] == 1
    assert json.loads((tmp_path / "run/result.json").read_text()) == document
    assert sorted(file.name for file in (tmp_path / "run").glob("ledger-*")) == ["ledger-00000.bin", "ledger-00001.bin"]
    for rank in (0, 1):
        lines = (tmp_path / f"logs/rank-{rank:05d}.log").read_text().splitlines()
        assert all(re.match(rf"\d{{4}}-\d\d-\d\dT[\d:.]+[+-][\d:]+ rank {rank}: ", line) for line in lines)
        assert "mlp300: standard weights" in lines[0]
        assert lines[-1].endswith(": exit code 1")
    assert len(list((tmp_path / "logs").iterdir())) == 2


@pytest.mark.distributed
def test_two_processes_save_the_same_shards(run: Run, tmp_path: Path) -> None:
    words = ["attack", *SMALL, "--shard-size", "60", "--quiet", "--json", "--out"]
    done = torchrun("-m", "robustbench_fgsm", *words, str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert run(*words, str(tmp_path / "one"))[0] == 0
    one, two = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("one", "two"))
    assert len(two["files"]) == 5
    assert [two[key] for key in ("n", "files", "clean", "adversarial")] == [
        one[key] for key in ("n", "files", "clean", "adversarial")
    ]
    assert {file.name for file in (tmp_path / "two").iterdir()} == {file.name for file in (tmp_path / "one").iterdir()}


@pytest.mark.distributed
def test_a_raising_process_ends_the_others(run: Run, single: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TROUBLE.format(trouble='raise ZeroDivisionError("unforeseen")'))
    words = ["evaluate", *SMALL, "--quiet", "--json", "--out", str(tmp_path / "run")]
    done = torchrun(str(tmp_path / "program.py"), *words)
    assert done.returncode != 0
    assert done.stderr.count("ZeroDivisionError: unforeseen") == 1
    assert done.stdout == ""
    shown = json.loads(run("runs", "show", str(tmp_path / "run"), "--json")[1])
    assert shown["state"] == "interrupted"
    assert 1 <= shown["done"] < shown["pieces"]


@pytest.mark.distributed
def test_a_killed_process_ends_the_others(run: Run, single: dict[str, Any], tmp_path: Path) -> None:
    """Fault 21, without restarts: the survivor would go on for ever, and counts how long it is let."""
    (tmp_path / "program.py").write_text(SURVIVOR)
    words = ["evaluate", *SMALL, "--quiet", "--json", "--out", str(tmp_path / "run")]
    done = torchrun(str(tmp_path / "program.py"), *words)
    assert done.returncode != 0
    assert done.stdout == ""
    assert len((tmp_path / "beats").read_bytes()) < 60 * 10
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "survivor").read_text()), 0)
    shown = json.loads(run("runs", "show", str(tmp_path / "run"), "--json")[1])
    assert (shown["state"], 1 <= shown["done"] < shown["pieces"]) == ("interrupted", True)
    code, printed, _ = run("runs", "resume", str(tmp_path / "run"), "--quiet", "--json")
    assert code == 0
    assert counts(json.loads(printed)) == counts(single)


@pytest.mark.distributed
def test_torchrun_restarts_a_killed_process(single: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TROUBLE.format(trouble="os.kill(os.getpid(), signal.SIGKILL)"))
    words = ["evaluate", *SMALL, "--quiet", "--json", "--out", str(tmp_path / "run")]
    done = torchrun(str(tmp_path / "program.py"), *words, restarts=1)
    assert done.returncode == 0, done.stderr
    assert counts(json.loads(done.stdout)) == counts(single)


@pytest.mark.distributed
def test_refuses_two_processes() -> None:
    done = torchrun("-m", "robustbench_fgsm", "list", "models")
    assert done.returncode != 0
    assert done.stderr.count("rfgsm: torchrun starts several processes, but rfgsm list is done by one") == 1
    assert done.stdout == ""
