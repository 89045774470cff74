"""Evaluate a million generated images in a run that is killed three times: memory stays constant, and so do the counts.

python examples/million_images.py [IMAGES]
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.ledger import Ledger
from robustbench_fgsm.spec import AttackSpec

KILLS = 3


class GeneratedImages:
    """Data set of images that are drawn from their index, block by block, and never kept."""

    name = "generated"
    classes = tuple("abcdefghij")
    fingerprint = "generated"

    def __init__(self, images: int) -> None:
        self._images = images

    def __len__(self) -> int:
        return self._images

    def batches(self, start: int, stop: int, size: int) -> Iterator[rf.Batch]:
        """Yield images start to stop (exclusive), at most `size` at a time, in order."""
        for low in range(start, min(stop, len(self)), size):
            ids = torch.arange(low, min(low + size, stop, len(self)))
            generator = torch.Generator().manual_seed(low)
            yield rf.Batch(torch.rand(len(ids), 1, 8, 8, generator=generator), ids % len(self.classes), ids)

    def __iter__(self) -> Iterator[rf.Batch]:
        return self.batches(0, len(self), 128)


def peak_memory() -> float:
    """Return the peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_once(run: EvaluationRun, out: Path, peaks: Path) -> None:
    def progress(done: int, total: int) -> None:
        if done % (total // 10) < run.plan.batch_size:
            with peaks.open("a") as stream:
                stream.write(f"{done} {peak_memory():.1f}\n")

    evaluate_in_directory(run, out, progress=progress, max_example_images=0)


def main() -> None:
    torch.set_num_threads(1)
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    run = EvaluationRun("evaluate", rf.wrap(network, 10), GeneratedImages(images), (AttackSpec(),), Plan(batch_size=128, threads=1))
    folder = Path(tempfile.mkdtemp())
    began = time.perf_counter()
    run_once(run, folder / "whole", folder / "peaks")
    whole = time.perf_counter() - began
    print(f"whole: {images:,} images, {whole:.0f} s")
    for line in (folder / "peaks").read_text().splitlines():
        print("  {:>9} images done, peak memory {} MiB".format(*line.split()))
    chance = random.Random(0)
    for kill in range(KILLS):
        child = os.fork()
        if not child:
            run_once(run, folder / "killed", folder / "peaks-killed")
            os._exit(0)
        time.sleep(whole * chance.uniform(0.1, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        ledger = Ledger.of_directory(folder / "killed")
        print(f"kill {kill + 1}: {ledger.num_finished:,} of {len(run.pieces):,} pieces finished, {ledger.damaged} damaged")
    found = evaluate_in_directory(run, folder / "killed", max_example_images=0)
    expected = evaluate_in_directory(run, folder / "whole", max_example_images=0)
    same = all(found[key] == expected[key] for key in ("n", "clean", "epsilons", "minimal_epsilon", "gradient"))
    print(f"equal counts: {same}; ledger {sum(f.stat().st_size for f in (folder / 'whole').glob('ledger*')):,} bytes")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
