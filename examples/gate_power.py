"""Find how many images each gate needs to tell two checkpoints apart, and how often each gate fails without a reason.

    python examples/gate_power.py --data-root DATA --work DIR [--download] [--nulls 10000] [--subsets 400]

The program trains short checkpoints of several widths, seeds, epochs and methods on the training split of Fashion-MNIST, keeps
them in DIR, and measures them and the bundled networks on the test split. For each pair it finds the number of images at which a
criterion detects the difference in 80 % of random subsets.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import robustbench_fgsm as rf
from robustbench_fgsm.models.architectures import ARCHITECTURES
from robustbench_fgsm.options import AttackOptions, DistanceOptions
from robustbench_fgsm.runs.lock_file import read_lock, write_lock
from robustbench_fgsm.runs.measure_lock import measure_lock
from robustbench_fgsm.runs.pair_outcomes import pair_outcome_distances, pair_outcomes
from robustbench_fgsm.runs.robustness_lock import RobustnessLock
from robustbench_fgsm.stats.distance import PairedDistances
from robustbench_fgsm.stats.paired import drop_p_values
from robustbench_fgsm.stats.paired_distances import distance_decreases
from robustbench_fgsm.stats.signed_rank import signed_rank_p_value

BATCH_SIZE = 128
EPSILON, MAX_EPSILON, ALPHA, POWER = 8 / 255, 0.5, 0.05, 0.8
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """A short training; epsilon: budget of FGSM's images in the loss, 0 for standard training."""

    network: str
    epochs: int
    images: int
    seed: int = 0
    epsilon: float = 0.0


RECIPES = {
    "mlp300-a": Recipe("mlp300", 3, 60_000),
    "mlp300-b": Recipe("mlp300", 3, 60_000, seed=1),
    "mlp300-long": Recipe("mlp300", 8, 60_000),
    "mlp900-a": Recipe("mlp900", 3, 60_000),
    "mlp300-half": Recipe("mlp300", 3, 30_000, seed=2),
    "mlp300-adv": Recipe("mlp300", 3, 30_000, epsilon=4 / 255),
    "cnn-a": Recipe("smallcnn", 1, 30_000),
    "cnn-adv4": Recipe("smallcnn", 1, 30_000, epsilon=4 / 255),
    "cnn-adv8": Recipe("smallcnn", 1, 30_000, epsilon=8 / 255),
}


def train(recipe: Recipe, images: Tensor, labels: Tensor) -> nn.Module:
    """Return a network in evaluation mode, trained by Adam with one cycle of the learning rate."""
    torch.manual_seed(recipe.seed)
    network = ARCHITECTURES[recipe.network]()
    batches = [part for _ in range(recipe.epochs) for part in torch.randperm(recipe.images).split(BATCH_SIZE)]  # type: ignore[no-untyped-call]
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=len(batches))
    for rows in batches:
        x, y = images[rows], labels[rows]
        network.eval()
        x = rf.fgsm(network, x, y, recipe.epsilon) if recipe.epsilon else x
        network.train()
        optimizer.zero_grad()
        cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval()


def checkpoints(work: Path, data_root: str, *, download: bool) -> Iterator[tuple[str, rf.TorchClassifier]]:
    """Yield the name and the classifier of each recipe, trained now or read from the directory."""
    data = rf.load_data("fashion-mnist", split="train", root=data_root, download=download)
    batch = next(data.batches(0, len(data), len(data)))
    for name, recipe in RECIPES.items():
        file = work / f"{name}.safetensors"
        if not file.exists():
            save_file(train(recipe, batch.images, batch.labels).state_dict(), file)
        network = ARCHITECTURES[recipe.network]()
        network.load_state_dict(load_file(file))
        yield name, rf.wrap(network, 10)


def measured_locks(work: Path, data_root: str, *, download: bool) -> dict[str, RobustnessLock]:
    """Return the lock of every network on the test split, measured now or read from the directory."""
    found, images = {}, rf.load_data("fashion-mnist")
    bundled = ("mlp300", "mlp600", "mlp900")
    networks = itertools.chain(
        ((f"bundled-{name}", rf.load_classifier(name, weights="standard")) for name in bundled),
        checkpoints(work, data_root, download=download),
    )
    for name, classifier in networks:
        file = work / f"{name}.lock"
        if not file.exists():
            attack, distances = AttackOptions(EPSILON), DistanceOptions(distance=True, max_epsilon=MAX_EPSILON)
            write_lock(measure_lock(classifier, images, attack, distances=distances)[0], file)
        found[name] = read_lock(file)
    return found


@dataclass(frozen=True)
class Images:
    """Images (N,) of one network as the gate sees them: positions of their distances, and the right ones at 8/255."""

    positions: Positions
    right: NDArray[np.bool_]

    def at(self, rows: NDArray[np.int64]) -> Images:
        """Return some images."""
        return Images(self.positions[rows], self.right[rows])


def gated_pair(run: RobustnessLock, baseline: RobustnessLock) -> tuple[Images, Images]:
    """Return the images of two networks as their gate pairs them: along stable gradients if either exceeds 1 % saturation."""
    _, stable = pair_outcomes(run, baseline)
    ((_, pairs),) = pair_outcome_distances(run, baseline, stable=stable)
    right = (lock.attacks[0].outcomes(stable=stable)[1] for lock in (run, baseline))
    first, second = map(Images, (pairs.run, pairs.baseline), right)
    return first, second


def distance_p(run: Images, baseline: Images) -> float:
    """Return the p-value of a smaller distance."""
    one_class = np.zeros(len(run.right), np.int64)
    pairs = PairedDistances(one_class, run.positions, baseline.positions, MAX_EPSILON)
    return signed_rank_p_value(distance_decreases(pairs))


def paired_accuracy_p(run: Images, baseline: Images) -> float:
    """Return the p-value of a lower accuracy at 8/255, image by image: the gate's test, McNemar's at a drop of 0."""
    lost, gained = (baseline.right & ~run.right).sum(), (run.right & ~baseline.right).sum()
    return float(drop_p_values(lost, gained, len(run.right), 0.0))


def two_rates_p(run: Images, baseline: Images) -> float:
    """Return the p-value of a lower accuracy at 8/255 by two independent rates."""
    now, then, n = run.right.mean(), baseline.right.mean(), len(run.right)
    spread = math.sqrt(max(now * (1 - now) + then * (1 - then), 1e-12) / n)
    return 0.5 * math.erfc((then - now) / spread / math.sqrt(2))


def bare_comparison_p(run: Images, baseline: Images) -> float:
    """Return 0 if the accuracy at 8/255 is lower at all, else 1: a comparison of two numbers."""
    return float(run.right.sum() >= baseline.right.sum())


CRITERIA: dict[str, Callable[[Images, Images], float]] = {
    "distance": distance_p,
    "McNemar": paired_accuracy_p,
    "two rates": two_rates_p,
}


def power(p_value: Callable[[Images, Images], float], run: Images, baseline: Images, n: int, subsets: int) -> float:
    """Return the share of random subsets of n images, drawn with replacement, that show the difference."""
    random = np.random.default_rng(0)
    rows = (random.integers(0, len(run.right), n) for _ in range(subsets))
    return sum(p_value(run.at(chosen), baseline.at(chosen)) < ALPHA for chosen in rows) / subsets


def images_needed(p_value: Callable[[Images, Images], float], run: Images, baseline: Images, subsets: int) -> float:
    """Return the number of images with a power of 80 %, within 10 %; infinity if 20,000 images are not enough."""
    low, high = 2, 4
    while power(p_value, run, baseline, high, subsets) < POWER:
        low, high = high, 2 * high
        if high > 20_000:
            return math.inf
    while high / low > 1.1:
        middle = round(math.sqrt(low * high))
        if middle in (low, high):
            break
        low, high = (low, middle) if power(p_value, run, baseline, middle, subsets) >= POWER else (middle, high)
    return high


def print_power(found: dict[str, RobustnessLock], subsets: int) -> None:
    """Print the images that each criterion needs for each pair, and the median ratio of distance and McNemar."""
    ratios = []
    print("run | baseline | " + " | ".join(CRITERIA))
    for names in itertools.combinations(found, 2):
        sides = gated_pair(*(found[name] for name in names))
        (worse, run), (better, baseline) = sorted(zip(names, sides, strict=True), key=lambda side: side[1].right.sum())
        needed = [images_needed(test, run, baseline, subsets) for test in CRITERIA.values()]
        print(f"{worse} | {better} | " + " | ".join(f"{n:,.0f}" for n in needed), flush=True)
        if not all(map(math.isinf, needed[:2])):
            ratios.append(needed[0] / needed[1])
    third = sum(ratio <= 1 / 3 for ratio in ratios)
    print(f"distance / McNemar over {len(ratios)} pairs: median {np.median(ratios):.2f}, at most a third in {third}")


def print_levels(run: Images, baseline: Images, nulls: int) -> None:
    """Print how often each criterion shows a difference if run and baseline of each image are exchanged by chance."""
    random = np.random.default_rng(0)
    tests = CRITERIA | {"bare comparison": bare_comparison_p}
    for n in (5, 10, 20, 50, 200, 1000):
        failures = dict.fromkeys(tests, 0)
        for _ in range(nulls):
            chosen, swap = random.integers(0, len(run.right), n), random.random(n) < 0.5
            first, second = run.at(chosen), baseline.at(chosen)
            columns = ((first.positions, second.positions), (first.right, second.right))
            now = Images(*(np.where(swap, ours, theirs) for ours, theirs in columns))
            then = Images(*(np.where(swap, theirs, ours) for ours, theirs in columns))
            for name, test in tests.items():
                failures[name] += test(now, then) < ALPHA
        print(f"n={n}: " + ", ".join(f"{name} {count / nulls:.4f}" for name, count in failures.items()), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--nulls", type=int, default=10_000)
    parser.add_argument("--subsets", type=int, default=400)
    given = parser.parse_args()
    measured = measured_locks(given.work, given.data_root, download=given.download)
    for other in ("cnn-adv8", "bundled-mlp600"):
        print_levels(*gated_pair(measured["bundled-mlp300"], measured[other]), given.nulls)
    print_power(measured, given.subsets)
