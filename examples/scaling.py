"""How time and memory of an evaluation grow: with images, classes, budgets and threads, as a Markdown table.

Each row runs in a process of its own, on images that are drawn a batch at a time and never lie in memory together. The
network is small, so that what the package itself costs shows.

python examples/scaling.py
python examples/scaling.py --full

--processes shares one evaluation among one process and two, with one thread each, in turns; the time is that of the attacks,
from when all have joined until all are done, without what it takes to start them. On a quiet machine with two cores:

python examples/scaling.py --processes [IMAGES [ROUNDS]]
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.benchmarking.peak_memory import peak_resident_bytes, reset_peak_resident_bytes
from robustbench_fgsm.engine.distributed import join_world
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.spec import AttackSpec, RunOptions

BATCH = 128
MEBIBYTE = 2**20
REPEATS = 5
ENOUGH = 10.0
"""Runs of one row, and seconds after which no other one begins."""

SHARE = 0.8
"""Of the memory that is free, for one row: one that needs more is told so, rather than the whole machine."""


@dataclass(frozen=True)
class Row:
    """One run."""

    images: int = 1000
    classes: int = 10
    epsilons: int = 1
    threads: int = 2


QUICK = [Row(images=100), Row(), Row(classes=100), Row(epsilons=4), Row(threads=1)]
FULL = [
    *(Row(images=10**power) for power in (2, 3, 4, 5)),
    *(Row(classes=classes) for classes in (10, 1000, 22000)),
    *(Row(images=2000, epsilons=2**power) for power in range(7)),
    *(Row(images=2000, threads=threads) for threads in (1, 2)),
]


class Drawn:
    """A data set of any size: each block of images is drawn when it is asked for, from its own seed."""

    def __init__(self, count: int, num_classes: int) -> None:
        self.name = "drawn"
        self.classes = tuple(map(str, range(num_classes)))
        self._count = count

    @property
    def fingerprint(self) -> str:
        """Of what decides the images."""
        return hashlib.sha256(f"{self._count} {len(self.classes)}".encode()).hexdigest()

    def __len__(self) -> int:
        return self._count

    def batches(self, start: int, stop: int, size: int) -> Iterator[rf.Batch]:
        """Images start to stop (exclusive), drawn now."""
        for low in range(start, min(stop, len(self)), size):
            ids = torch.arange(low, min(low + size, stop, len(self)))
            generator = torch.Generator().manual_seed(low)
            images = torch.rand(len(ids), 3, 32, 32, generator=generator)
            yield rf.Batch(images, torch.randint(len(self.classes), (len(ids),), generator=generator), ids)

    def __iter__(self) -> Iterator[rf.Batch]:
        return self.batches(0, len(self), BATCH)


def small(num_classes: int) -> rf.TorchClassifier:
    torch.manual_seed(0)
    layers = [
        *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, num_classes)),
    ]
    return rf.wrap(nn.Sequential(*layers), num_classes)


def evaluate(row: Row) -> None:
    spec = AttackSpec(tuple((step + 1) / 255 for step in range(row.epsilons)))
    run_attacks(small(row.classes), Drawn(row.images, row.classes), [spec], RunOptions(BATCH, "none"))


def measure(row: Row) -> dict[str, float]:
    """Seconds of the run, the best of several where it is short, and bytes above what the process had before it."""
    torch.set_num_threads(row.threads)
    evaluate(replace(row, images=BATCH, classes=10))  # so that no library is loaded while the clock runs
    resource.setrlimit(resource.RLIMIT_DATA, (int(SHARE * free()) + peak_resident_bytes(), resource.RLIM_INFINITY))
    before = reset_peak_resident_bytes()
    seconds: list[float] = []
    while not seconds or (len(seconds) < REPEATS and sum(seconds) < ENOUGH):
        began = time.perf_counter()
        evaluate(row)
        seconds.append(time.perf_counter() - began)
    return {"seconds": min(seconds), "above": peak_resident_bytes() - before}


def free() -> int:
    """Bytes of memory that the machine can give."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def run(row: Row) -> str:
    """A line of the table; a run that ran out of memory says so."""
    command = [sys.executable, __file__, "--row", json.dumps(asdict(row))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    cells = [f"{value:,}" for value in asdict(row).values()]
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
        return f"| {' | '.join(cells)} | does not fit in {SHARE * free() / 2**30:.1f} GiB: {last[:60]} | | |"
    found = json.loads(done.stdout)
    each = 1e6 * found["seconds"] / row.images
    return f"| {' | '.join(cells)} | {found['seconds']:.2f} | {each:.0f} | {found['above'] / MEBIBYTE:,.0f} |"


def share(images: int) -> None:
    """Evaluate together with the processes that torchrun started; the first prints seconds and counts."""
    world, plan = join_world(), Plan(batch_size=BATCH, threads=1)
    data, specs = Drawn(images, 10), [AttackSpec()]
    run_attacks(small(10), Drawn(BATCH, 10), specs, plan=plan)  # so that no library is loaded while the clock runs
    world.barrier()
    began = time.perf_counter()
    (found,) = run_attacks(small(10), data, specs, plan=plan, world=world)
    world.barrier()
    if world.is_main:
        print(json.dumps({"seconds": time.perf_counter() - began, "counts": found.to_dict()["epsilons"]}))


def processes(images: int, rounds: int) -> None:
    """A line for one process and for two: the median over rounds of turns, and of the ratio within a round."""
    found: dict[int, list[float]] = {1: [], 2: []}
    counts = set()
    for _ in range(rounds):
        for size, seconds in found.items():
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
            done = subprocess.run(
                [*command, __file__, "--share", str(images)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            told = json.loads(done.stdout)
            seconds.append(told["seconds"])
            counts.add(json.dumps(told["counts"]))
    ratios = [two / one for one, two in zip(found[1], found[2], strict=True)]
    print("| processes | threads each | images | seconds | of one process's time |")
    print("|--:|--:|--:|--:|--:|")
    print(f"| 1 | 1 | {images:,} | {statistics.median(found[1]):.2f} | 1 |")
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds)"
    print(f"| 2 | 1 | {images:,} | {statistics.median(found[2]):.2f} | {spread} |")
    print(f"\nThe same counts: {len(counts) == 1}.")


def main(rows: list[Row]) -> None:
    print("| images | classes | epsilons | threads | seconds | microseconds an image | MiB above the start |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        print(run(row), flush=True)


if __name__ == "__main__":
    if "--share" in sys.argv:
        share(int(sys.argv[-1]))
    elif "--processes" in sys.argv:
        given = [int(word) for word in sys.argv[2:]]
        processes(*(given + [20_000, 5][len(given) :])[:2])
    elif "--row" in sys.argv:
        print(json.dumps(measure(Row(**json.loads(sys.argv[-1])))))
    else:
        main(FULL if "--full" in sys.argv else QUICK)
