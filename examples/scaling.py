"""Measure time and memory of an evaluation over images, classes, budgets and threads, as a Markdown table.

Each row runs in its own process, on images that are drawn batch by batch. The network is small, so that the cost of the
package itself shows.

python examples/scaling.py
python examples/scaling.py --full

--processes runs one evaluation in one process and in two processes, with one thread each, in turns. It measures the attacks
without the start of the processes. On a quiet machine with two cores:

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
from robustbench_fgsm.engine.run_pieces import RunContext
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.options import RunOptions
from robustbench_fgsm.spec import AttackSpec

BATCH = 128
MEBIBYTE = 2**20
REPEATS = 5
MAX_SECONDS = 10.0
"""Runs of one row, and seconds after which no further run begins."""

MEMORY_SHARE = 0.8
"""Share of the free memory that one row may use; a row that needs more reports an error."""


@dataclass(frozen=True)
class Row:
    """Settings of one run."""

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


class GeneratedImages:
    """Data set of any size: each block of images is drawn from its own seed."""

    def __init__(self, count: int, num_classes: int) -> None:
        self.name = "drawn"
        self.classes = tuple(map(str, range(num_classes)))
        self._count = count

    @property
    def fingerprint(self) -> str:
        """Return a hash of the settings of the images."""
        return hashlib.sha256(f"{self._count} {len(self.classes)}".encode()).hexdigest()

    def __len__(self) -> int:
        return self._count

    def batches(self, start: int, stop: int, size: int) -> Iterator[rf.Batch]:
        """Yield images start to stop (exclusive), at most `size` at a time."""
        for low in range(start, min(stop, len(self)), size):
            ids = torch.arange(low, min(low + size, stop, len(self)))
            generator = torch.Generator().manual_seed(low)
            images = torch.rand(len(ids), 3, 32, 32, generator=generator)
            yield rf.Batch(images, torch.randint(len(self.classes), (len(ids),), generator=generator), ids)

    def __iter__(self) -> Iterator[rf.Batch]:
        return self.batches(0, len(self), BATCH)


def small_network(num_classes: int) -> rf.TorchClassifier:
    torch.manual_seed(0)
    layers = [
        *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, num_classes)),
    ]
    return rf.wrap(nn.Sequential(*layers), num_classes)


def evaluate(row: Row) -> None:
    spec = AttackSpec(tuple((step + 1) / 255 for step in range(row.epsilons)))
    run_attacks(small_network(row.classes), GeneratedImages(row.images, row.classes), [spec], RunOptions(BATCH, "none"))


def measure(row: Row) -> dict[str, float]:
    """Return the seconds of the run, the best of several if it is short, and the additional bytes of the process."""
    torch.set_num_threads(row.threads)
    evaluate(replace(row, images=BATCH, classes=10))  # load all libraries before the measured run
    resource.setrlimit(resource.RLIMIT_DATA, (int(MEMORY_SHARE * free_memory()) + peak_resident_bytes(), resource.RLIM_INFINITY))
    before = reset_peak_resident_bytes()
    seconds: list[float] = []
    while not seconds or (len(seconds) < REPEATS and sum(seconds) < MAX_SECONDS):
        began = time.perf_counter()
        evaluate(row)
        seconds.append(time.perf_counter() - began)
    return {"seconds": min(seconds), "above": peak_resident_bytes() - before}


def free_memory() -> int:
    """Return the free memory of the machine in bytes."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def run(row: Row) -> str:
    """Return one row of the table, with an error if the run needs too much memory."""
    command = [sys.executable, __file__, "--row", json.dumps(asdict(row))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    cells = [f"{value:,}" for value in asdict(row).values()]
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
        return f"| {' | '.join(cells)} | does not fit in {MEMORY_SHARE * free_memory() / 2**30:.1f} GiB: {last[:60]} | | |"
    found = json.loads(done.stdout)
    each = 1e6 * found["seconds"] / row.images
    return f"| {' | '.join(cells)} | {found['seconds']:.2f} | {each:.0f} | {found['above'] / MEBIBYTE:,.0f} |"


def share(images: int) -> None:
    """Evaluate together with the processes of torchrun; the main process prints seconds and counts."""
    world, plan = join_world(), Plan(batch_size=BATCH, threads=1)
    data, specs = GeneratedImages(images, 10), [AttackSpec()]
    run_attacks(small_network(10), GeneratedImages(BATCH, 10), specs, plan=plan)  # load all libraries before the measured run
    world.barrier()
    began = time.perf_counter()
    (found,) = run_attacks(small_network(10), data, specs, plan=plan, context=RunContext(world))
    world.barrier()
    if world.is_main:
        print(json.dumps({"seconds": time.perf_counter() - began, "counts": found.to_dict()["epsilons"]}))


def processes(images: int, rounds: int) -> None:
    """Print one row for one process and one for two: the median seconds, and the median ratio within a round."""
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
            result = json.loads(done.stdout)
            seconds.append(result["seconds"])
            counts.add(json.dumps(result["counts"]))
    ratios = [two / one for one, two in zip(found[1], found[2], strict=True)]
    print("| processes | threads each | images | seconds | of one process's time |")
    print("|--:|--:|--:|--:|--:|")
    print(f"| 1 | 1 | {images:,} | {statistics.median(found[1]):.2f} | 1 |")
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds)"
    print(f"| 2 | 1 | {images:,} | {statistics.median(found[2]):.2f} | {spread} |")
    print(f"\nEqual counts: {len(counts) == 1}.")


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
