"""Several processes share a run: the integers of one, every image once, and a failure that all hear of."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # exported, but not said so

import robustbench_fgsm as rf
from robustbench_fgsm.cli.load import load_dataset
from robustbench_fgsm.cli.options import DataOptions
from robustbench_fgsm.engine import distributed
from robustbench_fgsm.engine.distributed import World
from robustbench_fgsm.engine.outcomes import AttackTotals
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.engine.run_pieces import RunContext, sum_totals
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.evaluation.result import sweep_document
from robustbench_fgsm.options import CheckOptions, RunOptions, ShardOptions
from robustbench_fgsm.runs.attack.save import save_attack
from robustbench_fgsm.runs.directory import RESULT_FILE
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.ledger import Ledger, ledger_name
from robustbench_fgsm.spec import AttackSpec, TargetRule
from robustbench_fgsm.stats.tally import BatchOutcomes, Tally
from tests.engine.unusual_networks import Rounding

pytestmark = pytest.mark.distributed

MakeClassifier = Callable[..., rf.TorchClassifier]
MakeData = Callable[..., rf.ArrayDataset]
SPECS = tuple(AttackSpec((0.01, 0.2), target=TargetRule.parse(rule)) for rule in ("none", "random"))


def free_port() -> int:
    """A port that nobody listened at a moment ago; asked of torch, since tests may not open sockets themselves."""
    store = TCPStore("127.0.0.1", 0, 1, True, wait_for_workers=False)
    return int(store.port)


def in_world(size: int, work: Callable[[World], Any], place: Path) -> list[int]:
    """Do the work in so many forked processes, and write what each returns; their exit codes."""
    place.mkdir(exist_ok=True)
    environment = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    children = []
    for rank in range(size):
        child = os.fork()
        if child:
            children.append(child)
            continue
        code = 1
        try:
            os.environ.update(environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
            distributed.join_world.cache_clear()  # this process may have found itself alone in another test
            found = work(distributed.join_world())
            (place / f"{rank}.json").write_text(json.dumps(found))
            code = 0
        except BaseException:  # noqa: BLE001  (told by a file)
            (place / f"{rank}.txt").write_text(traceback.format_exc())
        finally:
            os._exit(code)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def answers(place: Path, size: int) -> list[Any]:
    return [json.loads((place / f"{rank}.json").read_text()) for rank in range(size)]


def counts(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(document))
    for part in (found, *found["evaluations"]):
        del part["seconds"], part["environment"]
    return found


@pytest.fixture
def run(classifier: rf.TorchClassifier, make_data: MakeData) -> EvaluationRun:
    return EvaluationRun("sweep", classifier, make_data(n=101), SPECS, Plan(batch_size=8, threads=1))


@pytest.mark.parametrize("n", [1, 7, 101])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_every_world_counts_like_one_process(
    classifier: rf.TorchClassifier, make_data: MakeData, tmp_path: Path, n: int, size: int
) -> None:
    data, plan = make_data(n=n), Plan(batch_size=2, threads=1)

    def work(world: World) -> Any:
        return counts(sweep_document(run_attacks(classifier, data, SPECS, plan=plan, context=RunContext(world))))

    assert in_world(size, work, tmp_path) == [0] * size
    alone = counts(sweep_document(run_attacks(classifier, data, SPECS, plan=plan)))
    assert answers(tmp_path, size) == [alone] * size


@pytest.mark.reference
def test_the_main_process_runs_the_checks(classifier: rf.TorchClassifier, make_data: MakeData, tmp_path: Path) -> None:
    data, plan, checks = make_data(n=40), Plan(batch_size=8, threads=1), CheckOptions(20, masking=True)

    def work(world: World) -> Any:
        return counts(sweep_document(run_attacks(classifier, data, SPECS, plan=plan, checks=checks, context=RunContext(world))))

    assert in_world(2, work, tmp_path) == [0] * 2
    alone = counts(sweep_document(run_attacks(classifier, data, SPECS, plan=plan, checks=checks)))
    assert alone["evaluations"][0]["masking_check"] is not None
    assert answers(tmp_path, 2) == [alone] * 2


@pytest.mark.parametrize("sizes", [(2, 3), (3, 1), (1, 2)])
def test_continues_with_other_processes(run: EvaluationRun, tmp_path: Path, sizes: Sequence[int]) -> None:
    """Killed in the first: each process has left its own ledger, and the second world does what is missing."""
    out, expected = tmp_path / "run", counts(evaluate_in_directory(run, tmp_path / "alone"))

    def killed(world: World) -> None:
        def stop(done: int, total: int) -> None:
            if done >= 40:
                os.kill(os.getpid(), signal.SIGKILL)

        evaluate_in_directory(run, out, world=world, progress=stop)

    assert -signal.SIGKILL in in_world(sizes[0], killed, tmp_path / "first")
    done = Ledger.of_directory(out).num_finished
    assert 0 < done < len(run.pieces)
    assert not (out / RESULT_FILE).exists()
    assert (
        in_world(sizes[1], lambda world: counts(evaluate_in_directory(run, out, world=world)), tmp_path / "second")
        == [0] * sizes[1]
    )
    assert answers(tmp_path / "second", sizes[1]) == [expected] * sizes[1]
    assert Ledger.of_directory(out).num_finished == len(run.pieces)
    assert (out / ledger_name(0)).exists()


def test_all_processes_start_again_after_a_failed_audit(guarded: EvaluationRun, tmp_path: Path) -> None:
    assert isinstance(guarded.classifier, Rounding)
    guarded.classifier.brightness = 0.6
    plain = counts(evaluate_in_directory(replace(guarded, plan=Plan(batch_size=25)), None))["evaluations"]

    def work(world: World) -> Any:
        return evaluate_in_directory(guarded, tmp_path / "run", world=world, max_example_images=0)["evaluations"]

    assert in_world(2, work, tmp_path / "told") == [0, 0]
    for (found,) in answers(tmp_path / "told", 2):
        assert found["epsilons"] == plain[0]["epsilons"]
        assert found["plan"]["reason"].startswith("audit: ")


@pytest.mark.parametrize("form", ["safetensors", "png"])
def test_several_processes_save_the_same_images(
    classifier: rf.TorchClassifier, make_data: MakeData, tmp_path: Path, form: str
) -> None:
    data, spec = make_data(n=25), AttackSpec((0.1,))

    def save(world: World, out: Path) -> dict[str, Any]:
        saved = save_attack(classifier, data, out, spec, ShardOptions(form, 4), RunOptions(2, "none"), None, world)
        return {key: value for key, value in saved.to_dict().items() if key not in ("seconds", "checksum")}

    save(World(), tmp_path / "alone")
    assert in_world(3, lambda world: save(world, tmp_path / "three"), tmp_path / "told") == [0] * 3
    assert len({json.dumps(answer) for answer in answers(tmp_path / "told", 3)}) == 1
    one, three = (
        {
            str(file.relative_to(tmp_path / name)): file.read_bytes()
            for file in sorted((tmp_path / name).rglob("*"))
            if file.is_file() and file.name not in ("manifest.json", "result.json")
        }
        for name in ("alone", "three")
    )
    assert one == three
    first, second = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("alone", "three"))
    assert {**first, "seconds": 0, "checksum": 0} == {**second, "seconds": 0, "checksum": 0}
    assert rf.check_adversarial(tmp_path / "three", classifier, data).verified


def test_keeps_shards_of_a_lost_process(classifier: rf.TorchClassifier, make_data: MakeData, tmp_path: Path) -> None:
    data, spec, out = make_data(n=40), AttackSpec((0.1,)), tmp_path / "out"

    def save(world: World) -> None:
        def stop(done: int, total: int) -> None:
            if world.rank == 0:
                while len(list(out.glob("adversarial-*"))) < 6:  # five of the other process
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGKILL)

        save_attack(classifier, data, out, spec, ShardOptions(shard_size=4), RunOptions(2, "none"), stop, world)

    codes = in_world(2, save, tmp_path / "told")
    assert codes[0] == -signal.SIGKILL
    assert "all processes must stay" in (tmp_path / "told/1.txt").read_text()
    before = {file.name: file.stat().st_mtime_ns for file in out.glob("adversarial-*")}
    assert len(before) == 6
    save_attack(classifier, data, out, spec, ShardOptions(shard_size=4), RunOptions(2, "none"))
    after = {file.name: file.stat().st_mtime_ns for file in out.glob("adversarial-*")}
    assert before.items() <= after.items()
    assert len(after) == 10
    assert not list(out.glob(".shards*"))
    assert rf.check_adversarial(out, classifier, data).verified


@pytest.mark.parametrize("what", ["model", "data", "attacks"])
def test_rejects_different_processes(
    run: EvaluationRun, make_classifier: MakeClassifier, make_data: MakeData, tmp_path: Path, what: str
) -> None:
    other = {
        "model": EvaluationRun("sweep", make_classifier(seed=1), run.data, SPECS, run.plan),
        "data": EvaluationRun("sweep", run.classifier, make_data(n=100), SPECS, run.plan),
        "attacks": EvaluationRun("sweep", run.classifier, run.data, SPECS[:1], run.plan),
    }[what]

    def work(world: World) -> Any:
        with pytest.raises(rf.RunError, match=f"all processes must have the same {what}, got"):
            world.check_same((other if world.rank == 1 else run).settings())
        return world.report_failure()

    assert in_world(3, work, tmp_path) == [0] * 3
    assert sorted(answers(tmp_path, 3)) == [False, False, True]  # one of them says so


def test_a_lost_process_stops_the_others(run: EvaluationRun, tmp_path: Path) -> None:
    def work(world: World) -> None:
        if world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        run_attacks(run.classifier, run.data, SPECS, plan=run.plan, context=RunContext(world))

    assert in_world(3, work, tmp_path) == [1, -signal.SIGKILL, 1]
    assert "IncompleteError: all processes must stay" in (tmp_path / "0.txt").read_text()


def test_one_process_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_data: MakeData) -> None:
    """Whoever comes before the data are there finds none."""
    place = tmp_path / "downloaded"

    def load(spec: str, *, download: bool, **_: object) -> rf.ArrayDataset:
        if download:
            time.sleep(0.3)
            place.open("x").close()  # by one of them only
        assert place.exists()
        return make_data()

    monkeypatch.setattr("robustbench_fgsm.data.load.load_data", load)

    def work(_: World) -> int:
        return len(load_dataset("cifar10", DataOptions(download=True), 0, quiet=True))

    assert in_world(3, work, tmp_path / "told") == [0] * 3
    assert answers(tmp_path / "told", 3) == [25] * 3


@pytest.mark.parametrize("classes", [3, 1001])
def test_totals_add_up_dense_and_sparse(tmp_path: Path, classes: int) -> None:
    def totals(rank: int) -> AttackTotals:
        random = np.random.default_rng(rank)
        labels, before, after = random.integers(classes, size=(3, 50))
        zero, nonfinite, saturated = random.random((3, 50)) < 0.5
        tally = Tally.of(BatchOutcomes(labels, labels, before, after[:, None], None, zero, nonfinite, saturated), classes)
        return AttackTotals((tally, tally), (tally, tally), random.integers(5, size=3), rank)

    def told(found: AttackTotals) -> Any:
        dense = [value.toarray() if hasattr(value, "toarray") else value for value in vars(found.stable[1]).values()]
        return [np.asarray(value).tolist() for value in (*dense, found.first_fooled, found.decided_again)]

    assert in_world(2, lambda world: told(sum_totals([totals(world.rank)], world)[0]), tmp_path) == [0, 0]
    one, two = totals(0), totals(1)
    expected = AttackTotals(one.tallies, (one.stable[0], one.stable[1] + two.stable[1]), one.first_fooled + two.first_fooled, 1)
    assert answers(tmp_path, 2) == [json.loads(json.dumps(told(expected)))] * 2


def torchrun(*words: str, **options: Any) -> subprocess.Popen[str]:
    """torchrun with these words, of one thread a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(rf.__file__).parents[1])},
        **options,
    )


SMALL = ("--model", "mlp300", "--limit", "300", "--batch-size", "64")
CHAIN = """
import sys
from robustbench_fgsm.cli.main import main

for words in (["evaluate"], ["sweep"], ["attack", "--shard-size", "60"]):
    try:
        main([*words, *sys.argv[2:], "--out", f"{sys.argv[1]}/{words[0]}", "--quiet"])
    except SystemExit as done:
        assert done.code == 0, done.code
"""
"""A program that runs three commands one after the other, so that processes are started once."""


def test_two_nodes_count_like_one_process(tmp_path: Path) -> None:
    """Fault 14 over two agents, for every command that measures."""
    (tmp_path / "chain.py").write_text(CHAIN)
    endpoint = f"127.0.0.1:{free_port()}"
    words = ("--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=7", f"--rdzv-endpoint={endpoint}")
    nodes = [torchrun(*words, str(tmp_path / "chain.py"), str(tmp_path / "two"), *SMALL) for _ in range(2)]
    printed = [node.communicate() for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], printed
    assert sorted(bool(out) for out, _ in printed) == [False, True]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "chain.py"), str(tmp_path / "one"), *SMALL],
        capture_output=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # threads are part of the plan
    )
    assert done.returncode == 0, done.stderr
    one, two = (
        {command: json.loads((tmp_path / name / command / RESULT_FILE).read_text()) for command in ("evaluate", "sweep")}
        for name in ("one", "two")
    )
    assert one["evaluate"]["epsilons"] == two["evaluate"]["epsilons"]
    assert counts(one["sweep"])["evaluations"] == counts(two["sweep"])["evaluations"]
    for name in ("evaluate", "sweep"):
        assert len(list((tmp_path / "two" / name).glob("ledger-*.bin"))) == 2
    first, second = (json.loads((tmp_path / name / "attack/manifest.json").read_text()) for name in ("one", "two"))
    assert [first[key] for key in ("n", "files", "clean", "adversarial")] == [
        second[key] for key in ("n", "files", "clean", "adversarial")
    ]


ENDING = """
import atexit
import sys
from pathlib import Path
from torch import distributed
from robustbench_fgsm.engine.distributed import join_world

atexit.register(lambda: Path(sys.argv[1], str(world.rank)).write_text(str(distributed.is_initialized())))
world = join_world()
world.barrier()
"""


def test_a_script_leaves_its_group(tmp_path: Path) -> None:
    """Else one of gloo's threads can abort it, and torchrun takes work that is done for failed."""
    script = tmp_path / "ending.py"
    script.write_text(ENDING)
    done = torchrun("--standalone", "--nproc-per-node", "2", str(script), str(tmp_path))
    _, told = done.communicate(timeout=300)
    assert done.returncode == 0, told
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["False", "False"]
