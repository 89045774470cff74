"""Compare our PGD with ART's from the same random starts: counts, images that differ, and times in turns in one process.

ART draws the starts. Our PGD runs in two ways: with the arithmetic of ART's network, and as `--pgd-check` runs it. An image whose
prediction differs is explained by rounding if ART's own result for it changes with the memory layout of the network.

python examples/pgd_beside_art.py smallcnn --limit 10000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import robustbench_fgsm as rf
from robustbench_fgsm.engine.gradient_classifier import choose_gradient_classifier
from robustbench_fgsm.evaluation.stronger_attacks import make_art_estimator
from robustbench_fgsm.models.art import to_art
from robustbench_fgsm.spec import AttackSpec

BATCH_SIZE = 256


def art_attack(estimator: Any, epsilon: float, steps: int) -> Callable[[Tensor, Tensor, int], Tensor]:
    """Return ART's PGD at the settings of `--pgd-check`; the seed determines its starts."""
    from art.attacks.evasion import ProjectedGradientDescent

    attack = ProjectedGradientDescent(
        estimator,
        eps=epsilon,
        eps_step=2.5 * epsilon / steps,
        max_iter=steps,
        num_random_init=1,
        batch_size=BATCH_SIZE,
        verbose=False,
    )

    def run(x: Tensor, y: Tensor, seed: int) -> Tensor:
        np.random.seed(seed)
        return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))

    return run


def our_attack(classifier: rf.Classifier, size: int | None, epsilon: float, steps: int) -> Callable[[Tensor, Tensor, int], Tensor]:
    """Return our PGD from ART's starts."""

    def run(x: Tensor, y: Tensor, seed: int) -> Tensor:
        np.random.seed(seed)
        offsets = np.random.uniform(-epsilon, epsilon, (len(x), x[0].numel())).astype(np.float32)
        start = (x + torch.from_numpy(offsets).view_as(x)).clamp(0, 1)
        count = size or len(x)
        parts = [slice(at, at + count) for at in range(0, len(x), count)]
        return torch.cat([rf.pgd(classifier, x[part], y[part], epsilon, steps=steps, start=start[part]) for part in parts])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="smallcnn")
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--eps", type=float, default=8 / 255)
    parser.add_argument("--steps", type=int, default=20)
    settings = parser.parse_args()
    classifier, data = rf.load_classifier(settings.model, device="cpu"), rf.load_data("fashion-mnist", limit=settings.limit)
    assert isinstance(classifier, rf.TorchClassifier)
    shape, given = (1, 28, 28), (settings.eps, settings.steps)
    stock = to_art(classifier, input_shape=shape)
    stock.model.requires_grad_(True)  # as in a network that a user gives to ART
    first = next(data.batches(0, len(data), BATCH_SIZE))
    planned, size = choose_gradient_classifier(classifier, first, len(data), AttackSpec((settings.eps,)), data.classes)
    same = classifier.variant(memory_format=torch.channels_last) if size else classifier
    attacks = {
        "ART": art_attack(stock, *given),
        "ART, frozen and channels-last": art_attack(make_art_estimator(classifier, shape), *given),
        "ours, arithmetic of ART": our_attack(same, None, *given),
        "ours, as --pgd-check": our_attack(planned, size, *given),
    }
    seconds, pixels, labels = dict.fromkeys(attacks, 0.0), 0, []
    predictions: dict[str, list[Tensor]] = {name: [] for name in attacks}
    for number, batch in enumerate(data.batches(0, len(data), BATCH_SIZE)):
        found = {}
        for name, attack in attacks.items():
            began = time.process_time()
            found[name] = attack(batch.images, batch.labels, number)
            seconds[name] += time.process_time() - began
            predictions[name].append(classifier.predict(found[name]).argmax(1))
        pixels += int((found["ART, frozen and channels-last"] != found["ours, arithmetic of ART"]).sum())
        labels.append(batch.labels)
    truth, after = torch.cat(labels), {name: torch.cat(parts) for name, parts in predictions.items()}
    theirs, layouts = after["ART, frozen and channels-last"], after["ART"]
    print(f"{settings.model}, {len(truth):,} images, PGD-{settings.steps} at {settings.eps:.4g}")
    print(f"pixels that differ between ART and ours with its arithmetic: {pixels:,}")
    for name, classes in after.items():
        differs = classes != theirs
        explained = differs & (layouts != theirs)
        print(
            f"{name}: {int((classes == truth).sum()):,} right, {int(differs.sum()):,} predictions differ from frozen ART "
            f"({int(explained.sum()):,} of them also between ART's two layouts), {seconds[name]:.1f} s of processor time, "
            f"{seconds['ART'] / seconds[name]:.2f} times as fast as ART"
        )


if __name__ == "__main__":
    main()
