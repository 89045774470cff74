"""A measurement in its directory: however it was stopped, going on from there counts what was never stopped."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.engine.choose_plan import choose_plan
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.errors import ResourceError, RunError
from robustbench_fgsm.files.directory_lock import lock_directory
from robustbench_fgsm.options import CheckOptions, RunOptions
from robustbench_fgsm.runs.directory import MANIFEST_FILE, RESULT_FILE
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.kept_images import EXAMPLE_IMAGES_FILE, read_example_images
from robustbench_fgsm.runs.ledger import Ledger, ledger_name
from robustbench_fgsm.runs.manifest import read_recorded_plan
from robustbench_fgsm.runs.resume import reload_evaluation_run
from tests.engine.unusual_networks import Rounding, make_rounding

MakeClassifier = Callable[..., rf.TorchClassifier]
MakeData = Callable[..., rf.ArrayDataset]
KILLS = 50


def counts(document: dict[str, Any]) -> dict[str, Any]:
    """A document without what may differ: times."""
    found: dict[str, Any] = json.loads(json.dumps(document))
    for part in (found, *found["evaluations"]):
        del part["seconds"], part["environment"]
    return found


def undisturbed(run: EvaluationRun) -> dict[str, Any]:
    """What no store and no pieces give."""
    return counts(evaluate_in_directory(run, None))


@pytest.mark.reference
@pytest.mark.parametrize("asked", [CheckOptions(20), CheckOptions(20, masking=True)], ids=str)
def test_repeats_a_stopped_check(run: EvaluationRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: CheckOptions) -> None:
    asking = replace(run, checks=asked)
    with monkeypatch.context() as patched:
        patched.setattr("robustbench_fgsm.evaluation.evaluate.run_checks", stop)
        with pytest.raises(StoppedError):
            evaluate_in_directory(asking, tmp_path / "run", max_example_images=0)
    again = reload_evaluation_run(tmp_path / "run", run.classifier, run.data)
    assert again.checks == asked
    document = evaluate_in_directory(again, tmp_path / "run", max_example_images=0)
    assert document["evaluations"][0]["pgd_check"]["n"] == 20
    assert counts(document) == counts(evaluate_in_directory(asking, tmp_path / "another", max_example_images=0))
    with pytest.raises(RunError, match="checks"):
        evaluate_in_directory(run, tmp_path / "run")


def stop(*_: object) -> None:
    raise StoppedError


class StoppedError(Exception):
    """Stands for whatever ends a process."""


def stop_after(images: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done >= images:
            raise StoppedError

    return progress


class Counting:
    """Images that the classifier is given gradients of."""

    def __init__(self, run: EvaluationRun, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images = 0
        original = run.classifier.loss_gradient

        def count(x: torch.Tensor, *rest: Any) -> Any:
            self.images += len(x)
            return original(x, *rest)

        monkeypatch.setattr(run.classifier, "loss_gradient", count)


def test_run_has_saturated_images(run: EvaluationRun) -> None:
    (first, _) = undisturbed(run)["evaluations"]
    assert 0.02 < first["gradient"]["saturated_share"]["value"] < 0.9
    assert first["epsilons"][1]["stable"]["robust_accuracy"] != first["epsilons"][1]["robust_accuracy"]


def test_pieces_count_like_the_whole(run: EvaluationRun, tmp_path: Path) -> None:
    assert counts(evaluate_in_directory(run, tmp_path / "run")) == undisturbed(run)


def test_a_stopped_run_repeats_no_piece(run: EvaluationRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoppedError):
        evaluate_in_directory(run, tmp_path / "run", progress=stop_after(120), max_example_images=0)
    assert Ledger.of_directory(tmp_path / "run").num_finished == 15
    assert not (tmp_path / "run" / RESULT_FILE).exists()
    seen: list[tuple[int, int]] = []
    calls = Counting(run, monkeypatch)
    found = evaluate_in_directory(run, tmp_path / "run", progress=lambda *so_far: seen.append(so_far), max_example_images=0)
    assert seen[0] == (120, 250)
    saturated = sum(part["gradient"]["saturated_share"]["count"] for part in found["evaluations"])
    assert calls.images < 2 * (250 - 120) + saturated + 70  # both attacks, and the checks before them
    monkeypatch.undo()
    assert counts(found) == undisturbed(run)


def test_returns_a_finished_run_without_writing(run: EvaluationRun, tmp_path: Path) -> None:
    found = evaluate_in_directory(run, tmp_path / "run")
    before = written(tmp_path / "run")
    with lock_directory(tmp_path / "run"):  # whoever only reads needs no lock
        assert evaluate_in_directory(run, tmp_path / "run") == json.loads(json.dumps(found))
    assert written(tmp_path / "run") == before


def written(directory: Path) -> dict[str, tuple[bytes, int]]:
    """What is in each file that is not hidden, and when it was written."""
    files = (file for file in directory.iterdir() if not file.name.startswith("."))
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def in_child(work: Callable[[], object], seconds: float = 0.0) -> int:
    """Process id of a fork that does the work and goes without cleaning up; a signal kills it after so many seconds of its CPU."""
    process = os.fork()
    if process == 0:
        try:
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, seconds)
            work()
        finally:
            os._exit(0)
    return process


@pytest.mark.distributed
def test_50_random_kills_change_no_count(run: EvaluationRun, tmp_path: Path) -> None:
    """Each kill hits a run somewhere between its first write and its last; each time at most one piece is lost."""
    expected = undisturbed(run)
    chance = random.Random(0)
    moments: list[int] = []
    began = time.process_time()  # other work of the machine does not count
    evaluate_in_directory(run, tmp_path / "timed")
    whole = time.process_time() - began
    out = tmp_path / "run"
    for kill in range(KILLS):
        if (out / RESULT_FILE).exists():
            out = tmp_path / f"run-{kill}"
        before = Ledger.of_directory(out).num_finished if (out / MANIFEST_FILE).exists() else 0
        child = in_child(partial(evaluate_in_directory, run, out), chance.uniform(0.001, whole))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (0, -signal.SIGPROF)
        if (out / MANIFEST_FILE).exists():  # else it was killed before its first piece
            ledger = Ledger.of_directory(out)
            assert ledger.num_finished >= before
            assert ledger.damaged <= kill + 1
            moments.append(ledger.num_finished)
        if kill % 10 == 9:
            assert counts(evaluate_in_directory(run, out)) == expected
            out = tmp_path / f"next-{kill}"
    assert len(set(moments)) > 5  # they did hit different moments


def test_a_kill_loses_at_most_one_piece(run: EvaluationRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process killed while it works on piece k has left pieces 0 to k - 1 in the ledger, whole."""

    def kill_at(done: int, total: int) -> None:
        if done >= 80:
            os.kill(os.getpid(), signal.SIGKILL)

    child = in_child(lambda: evaluate_in_directory(run, tmp_path / "run", progress=kill_at))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    ledger = Ledger.of_directory(tmp_path / "run")
    assert (ledger.num_finished, ledger.damaged) == (10, 0)
    assert counts(evaluate_in_directory(run, tmp_path / "run")) == undisturbed(run)


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "gone", "swapped"])
def test_attacks_damaged_pieces_again(run: EvaluationRun, tmp_path: Path, harm: str) -> None:
    out = tmp_path / "run"
    expected = counts(evaluate_in_directory(run, out))
    place = out / ledger_name(0)
    content = bytearray(place.read_bytes())
    if harm == "flip":
        for at in np.random.default_rng(0).integers(len(content), size=5):
            content[at] ^= 16
    changed = {"cut": content[: len(content) // 2], "empty": bytearray()}.get(harm, content)
    place.write_bytes(changed[1:] if harm == "swapped" else changed)
    if harm == "gone":
        place.unlink()
    (out / RESULT_FILE).unlink()
    assert Ledger.of_directory(out).num_finished < len(run.pieces)
    assert counts(evaluate_in_directory(run, out)) == expected
    assert Ledger.of_directory(out).num_finished == len(run.pieces)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda run, make: replace(run, classifier=make(seed=1)), r"model\.sha256"),
        (lambda run, make: replace(run, data=run.data.head(249)), r"data\.n 250 there, 249 now; data\.fingerprint "),
        (lambda run, _: replace(run, specs=(replace(run.specs[0], epsilons=(0.01, 0.3)), run.specs[1])), "attacks"),
        (lambda run, make: replace(run, plan=Plan(batch_size=9)), "batch_size 8 there, 9 now; piece_size"),
        (lambda run, make: replace(run, max_bad=1), "max_bad 0 there, 1 now"),
    ],
)
def test_rejects_another_run(
    run: EvaluationRun, tmp_path: Path, make_classifier: MakeClassifier, change: Callable[..., EvaluationRun], named: str
) -> None:
    with pytest.raises(StoppedError):
        evaluate_in_directory(run, tmp_path, progress=stop_after(40))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(RunError, match=f"the same settings, got .* with .*{named}"):
        evaluate_in_directory(change(run, make_classifier), tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_rejects_a_second_process(run: EvaluationRun, tmp_path: Path) -> None:
    with lock_directory(tmp_path / "run"), pytest.raises(ResourceError, match="one process at a time, got a second one"):
        evaluate_in_directory(run, tmp_path / "run")
    assert not (tmp_path / "run" / MANIFEST_FILE).exists()


def test_removes_temporary_files(run: EvaluationRun, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        evaluate_in_directory(run, tmp_path, progress=stop_after(40))
    (tmp_path / f".{RESULT_FILE}.abcdef01").mkdir()
    (tmp_path / f".{EXAMPLE_IMAGES_FILE}.abcdef01").mkdir()
    evaluate_in_directory(run, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [".lock", EXAMPLE_IMAGES_FILE, ledger_name(0), MANIFEST_FILE, RESULT_FILE]
    )


def test_continues_after_a_full_disk(run: EvaluationRun, small_disk: Path | None) -> None:
    """Less room each time, so that the disk is full at the manifest, in the ledger, at the images and at the result."""
    if small_disk is None:
        return
    expected = undisturbed(run)
    failed: set[str] = set()
    for pages in range(24):
        out, ballast = small_disk / "run", small_disk / "ballast"
        ballast.write_bytes(b"x" * 4096 * (31 - pages))
        try:
            evaluate_in_directory(run, out)
        except ResourceError as error:
            assert "No space left on device" in str(error)  # noqa: PT017  (whether it raises is part of the test)
            failed.add(str(error).split()[0].rpartition("/")[2])
            held = {file.name for file in out.iterdir()} if out.exists() else set()
            assert held <= {".lock", MANIFEST_FILE, ledger_name(0), EXAMPLE_IMAGES_FILE}
            if MANIFEST_FILE in held:
                json.loads((out / MANIFEST_FILE).read_text())
                assert Ledger.of_directory(out).damaged == 0
            if EXAMPLE_IMAGES_FILE in held:
                assert read_example_images(out / EXAMPLE_IMAGES_FILE)
            ballast.unlink()
            assert counts(evaluate_in_directory(run, out)) == expected
        ballast.unlink(missing_ok=True)
        shutil.rmtree(out, ignore_errors=True)
    assert {ledger_name(0), EXAMPLE_IMAGES_FILE} < failed


def _lock_and_wait(place: Path, connection: Any) -> None:
    with lock_directory(place):
        connection.send("locked")
        connection.recv()


@pytest.mark.distributed
def test_a_killed_process_frees_its_lock(run: EvaluationRun, tmp_path: Path) -> None:
    context = get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_lock_and_wait, args=(tmp_path / "run", there))
    process.start()
    here.recv()
    with pytest.raises(ResourceError):
        evaluate_in_directory(run, tmp_path / "run")
    process.kill()
    process.join()
    evaluate_in_directory(run, tmp_path / "run")


def slower(*_: object) -> float:
    return 1.0


def without_plan(run: EvaluationRun) -> list[Any]:
    return counts_of(undisturbed(replace(run, plan=Plan(batch_size=25))))


def counts_of(document: dict[str, Any]) -> list[Any]:
    return [evaluation["epsilons"] for evaluation in document["evaluations"]]


def test_continues_under_the_recorded_plan(guarded: EvaluationRun, tmp_path: Path) -> None:
    """Another timing does not matter, and the plan is tried again."""
    assert guarded.plan.guarded
    with pytest.raises(StoppedError):
        evaluate_in_directory(guarded, tmp_path / "run", progress=stop_after(700), max_example_images=0)
    recorded = read_recorded_plan(tmp_path / "run")
    plan = choose_plan(guarded.classifier, guarded.data, guarded.specs, RunOptions("auto", "safe"), recorded, slower)
    assert plan == guarded.plan
    worse = make_rounding()
    worse.noise = 1e-3
    with pytest.raises(rf.SettingError, match="the recorded plan must give the plain network's numbers, got outputs differ by"):
        evaluate_in_directory(replace(guarded, classifier=worse), tmp_path / "run", max_example_images=0)
    document = evaluate_in_directory(replace(guarded, plan=plan), tmp_path / "run", max_example_images=0)
    assert counts_of(document) == without_plan(guarded)
    assert document["evaluations"][0]["plan"]["audit"]["audited"] > 450
    assert document == evaluate_in_directory(replace(guarded, classifier=worse), tmp_path / "run")  # finished: nothing is tried


@pytest.mark.parametrize("stopped", [None, 2700])
def test_starts_again_after_a_failed_audit(guarded: EvaluationRun, tmp_path: Path, stopped: int | None) -> None:
    """Also if it is stopped again on the way."""
    assert isinstance(guarded.classifier, Rounding)
    guarded.classifier.brightness = 0.6
    done: list[int] = []

    def progress(count: int, total: int) -> None:
        done.append(count)
        if stopped is not None and len(done) > stopped // 25:
            raise StoppedError

    if stopped is not None:
        with pytest.raises(StoppedError):
            evaluate_in_directory(guarded, tmp_path / "run", progress=progress, max_example_images=0)
        assert Ledger.of_directory(tmp_path / "run").num_finished < len(guarded.pieces) / 2
    run = guarded if stopped is None else reload_evaluation_run(tmp_path / "run", guarded.classifier, guarded.data)
    document = evaluate_in_directory(run, tmp_path / "run", max_example_images=0)
    plan = document["evaluations"][0]["plan"]
    assert counts_of(document) == without_plan(guarded)
    assert plan["memory_format"] == "contiguous"
    assert re.fullmatch(r"audit: [1-9]\d* of \d+ predictions differed from the plain network", plan["reason"])
    assert plan["audit"] is None
    again = reload_evaluation_run(tmp_path / "run", guarded.classifier, guarded.data)
    assert again.plan.is_plain
    assert evaluate_in_directory(again, tmp_path / "run") == document
