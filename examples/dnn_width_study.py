"""Repeat the study behind this package correctly: FGSM on networks of three widths, and the effect of retraining.

    python examples/dnn_width_study.py --data-root DATA --out DIR
    python examples/dnn_width_study.py --quick --out DIR

The program trains networks of 300, 600 and 900 hidden units and attacks them by FGSM, untargeted and targeted at label + 2. It
retrains the smallest network on its training images with fixed FGSM images of itself (`static`), and on new FGSM images in
every step (`n-fgsm`). It also shows the numbers of the study's mistake: the study changed the test images in place, so each
budget was added to the previous budgets. DIR/study.json holds every number; study.md, curves.svg and retraining.svg are made
from it. --quick trains on 1,000 test images for one epoch, to show that the program runs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.environment import describe_environment

WIDTHS = (300, 600, 900)
STEPS = (1, 5, 10, 20, 30, 40, 50)
"""Budgets over 255."""
TARGETS = ("none", "shift:2")
RETRAINED, NAMED = 10 / 255, 70 / 255
"""The intended budget of retraining, and the budget that the study's mistake really used under this name."""
PGD_STEPS = 20
train = partial(rf.train, schedule="constant", learning_rate=1e-3, keep="last")
"""Adam at a constant rate, as in the study and for the bundled weights of these networks."""


@dataclass(frozen=True)
class Plan:
    """Networks, data and epochs of the study."""

    data: rf.Dataset
    test: rf.Dataset
    widths: Sequence[int]
    epochs: int
    retraining: int
    seed: int
    seeds: int


def in_place(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Attack with the study's mistake: change x itself, so that the next budget starts from the changed x."""
    copied = x.detach().clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(copied), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, copied)
    return x.add_(epsilon * gradient.sign()).clamp_(0, 1)


def images_of(data: rf.Dataset, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return all images and labels on the device."""
    batches = list(data.batches(0, len(data), 1000))
    images, labels = (torch.cat(parts) for parts in zip(*((b.images, b.labels) for b in batches), strict=True))
    return images.to(device), labels.to(device)


def pieces(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield views of 1,000 images and labels at a time."""
    for low in range(0, len(labels), 1000):
        yield images[low : low + 1000], labels[low : low + 1000]


def rates_at(budget: float, tally: rf.Tally) -> dict[str, Any]:
    """Return the rates at one budget; the first is the study's own definition of success."""
    rates = ("accuracy_drop", "attack_success_rate", "robust_accuracy")
    return {"over_255": round(budget * 255, 6), **{name: getattr(tally, name).to_dict() for name in rates}}


def accuracy(classifier: rf.TorchClassifier, images: Tensor, labels: Tensor) -> rf.Rate:
    """Return the share of right predictions on the given images."""
    right = (classifier.predict(x).argmax(1) == y for x, y in pieces(images, labels))
    return rf.Rate(sum(int(found.sum()) for found in right), len(labels))


def attack_results(classifier: rf.TorchClassifier, test: rf.Dataset) -> dict[str, Any]:
    """Return the results of one network: both attacks at all budgets, without and with the mistake."""
    evaluations = rf.sweep(classifier, test, [step / 255 for step in STEPS], targeted=TARGETS)
    first = evaluations[0].tallies[0]
    images, labels = images_of(test, classifier.device)
    before, mistaken = first.clean_accuracy, []
    for step, added in zip(STEPS, accumulate(STEPS), strict=True):
        for x, y in pieces(images, labels):
            in_place(classifier, x, y, step / 255)
        after = accuracy(classifier, images, labels)
        drop = rf.Rate(before.count - after.count, before.count).to_dict()
        mistaken.append({"over_255": step, "added_up": added, "accuracy_drop": drop})
    return {
        "clean_accuracy": before.to_dict(),
        "saturated": rf.Rate(first.saturated, first.n).to_dict(),
        "attacks": {
            str(found.attack.target): [rates_at(*pair) for pair in zip(found.attack.epsilons, found.tallies, strict=True)]
            for found in evaluations
        },
        "in_place": mistaken,
    }


def retraining_results(classifier: rf.TorchClassifier, test: rf.Dataset) -> dict[str, Any]:
    """Return the results of a retrained network: clean, under a fresh FGSM at all budgets, and under PGD."""
    evaluations = rf.sweep(classifier, test, [*(step / 255 for step in STEPS), NAMED])
    tallies = dict(zip(evaluations[0].attack.epsilons, evaluations[0].tallies, strict=True))
    images, labels = images_of(test, classifier.device)
    strong = rf.pgd(classifier, images, labels, RETRAINED, steps=PGD_STEPS)
    return {
        "clean_accuracy": tallies[RETRAINED].clean_accuracy.to_dict(),
        "fgsm": [rates_at(*pair) for pair in tallies.items()],
        "pgd": accuracy(classifier, strong, labels).to_dict(),
    }


def with_random_signs(data: rf.Dataset, seed: int) -> rf.ArrayDataset:
    """Return the images and copies of them, whose pixels move by the budget of FGSM with random signs."""
    images, labels = images_of(data)
    signs = torch.randint(0, 2, images.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    noisy = images.add(RETRAINED * signs).clamp_(0, 1)
    both = torch.cat([images, noisy]).mul_(255).round_().to(torch.uint8)  # exact: pixels and budget are whole 255ths
    return rf.ArrayDataset("random signs", both, labels.repeat(2), data.classes)


def explain_static_retraining(first: rf.TorchClassifier, static: rf.TorchClassifier, plan: Plan, seed: int) -> dict[str, Any]:
    """Return accuracies that show that `static` learns the first network's perturbations and resists no others."""
    images, labels = images_of(plan.test, first.device)
    old = torch.cat([rf.fgsm(first, x, y, RETRAINED) for x, y in pieces(images, labels)])
    signs = train(first, with_random_signs(plan.data, seed), epochs=plan.retraining, held_out=0, seed=seed)
    networks = {"never retrained": first, "static": static, "random signs": signs.classifier}
    return {"seed": seed} | {
        name: {
            "clean": accuracy(network, images, labels).to_dict(),
            "first's perturbations": accuracy(network, old, labels).to_dict(),
            "fresh FGSM": rf.evaluate(network, plan.test, RETRAINED).tallies[0].robust_accuracy.to_dict(),
        }
        for name, network in networks.items()
    }


def study(plan: Plan) -> Iterator[tuple[str, Any]]:
    """Yield the parts of study.json, one after another."""
    again = partial(train, epsilon=RETRAINED, epochs=plan.retraining)
    networks = {
        width: train(f"mlp{width}", plan.data, epochs=plan.epochs, held_out=0, seed=plan.seed).classifier for width in plan.widths
    }
    yield "widths", {str(width): attack_results(network, plan.test) for width, network in networks.items()}
    yield "mistake", [fault.to_dict() for fault in rf.verify(in_place).conduct]
    first = networks[plan.widths[0]]
    static = again(first, plan.data, method="static", held_out=0, seed=plan.seed).classifier
    robust = again(first, plan.data, method="n-fgsm", seed=plan.seed)
    retrained = {"never retrained": first, "static": static, "n-fgsm": robust.classifier}
    overfitting = None if robust.overfitting is None else robust.overfitting.to_dict()
    yield "retraining", {name: retraining_results(network, plan.test) for name, network in retrained.items()}
    yield "overfitting", overfitting
    reasons = [explain_static_retraining(first, static, plan, plan.seed)]
    yield "why", reasons
    for seed in range(plan.seed + 1, plan.seed + plan.seeds):
        name = f"mlp{plan.widths[0]}"
        first = train(name, plan.data, epochs=plan.epochs, held_out=0, seed=seed).classifier
        static = again(first, plan.data, method="static", held_out=0, seed=seed).classifier
        reasons.append(explain_static_retraining(first, static, plan, seed))
        yield "why", reasons


def rate_text(rate: dict[str, Any]) -> str:
    """Return a rate of study.json as text."""
    return str(rf.Rate(rate["count"], rate["n"]))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def tables(found: dict[str, Any]) -> dict[str, str]:
    """Return all tables of the study by name, as Markdown, with 95 % Wilson intervals over the test images."""
    widths = found["widths"]
    made = {
        "clean": table(
            ["hidden units", "clean accuracy", "n"],
            [[width, rate_text(one["clean_accuracy"]), f"{one['clean_accuracy']['n']:,}"] for width, one in widths.items()],
        )
    }
    for target in TARGETS:
        made["untargeted" if target == "none" else "targeted"] = table(
            ["ε × 255", *(f"{width}: {rate}" for width in widths for rate in ("drop", "ASR"))],
            [
                [
                    step,
                    *(
                        rate_text(one["attacks"][target][index][rate])
                        for one in widths.values()
                        for rate in ("accuracy_drop", "attack_success_rate")
                    ),
                ]
                for index, step in enumerate(STEPS)
            ],
        )
    narrow = next(iter(widths.values()))
    made["in place"] = table(
        ["ε × 255, nominal", "added up", "drop at the true ε", "drop in place"],
        [
            [wrong["over_255"], wrong["added_up"], rate_text(right["accuracy_drop"]), rate_text(wrong["accuracy_drop"])]
            for right, wrong in zip(narrow["attacks"]["none"], narrow["in_place"], strict=True)
        ],
    )
    made["retraining"] = table(
        ["300 units", "clean", "FGSM at 10/255", f"PGD-{PGD_STEPS} at 10/255", "FGSM at 70/255"],
        [
            [
                name,
                rate_text(one["clean_accuracy"]),
                rate_text(one["fgsm"][STEPS.index(10)]["robust_accuracy"]),
                rate_text(one["pgd"]),
                rate_text(one["fgsm"][-1]["robust_accuracy"]),
            ]
            for name, one in found["retraining"].items()
        ],
    )
    names = [name for name in found["why"][0] if name != "seed"]
    made["why"] = table(
        ["seed", "network", "clean", "first network's FGSM images", "fresh FGSM images"],
        [[one["seed"], name, *(rate_text(rate) for rate in one[name].values())] for one in found["why"] for name in names],
    )
    return made


def draw(found: dict[str, Any], out: Path) -> None:
    """Draw curves.svg and retraining.svg into the directory."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    def save(figure: Figure, name: str) -> None:
        with rc_context({"svg.hashsalt": name}):
            figure.savefig(out / name, metadata={"Date": None})

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for (width, one), colour in zip(found["widths"].items(), ("C0", "C1", "C2"), strict=False):
        for target, line in zip(TARGETS, ("-", "--"), strict=True):
            drops = [point["accuracy_drop"]["value"] for point in one["attacks"][target]]
            kind = "untargeted" if target == "none" else "targeted, label + 2"
            axes.plot(STEPS, drops, line, color=colour, marker=".", label=f"{width} units, {kind}")
    wrong = next(iter(found["widths"].values()))["in_place"]
    drops = [point["accuracy_drop"]["value"] for point in wrong]
    axes.plot(STEPS, drops, ":", color="0.3", marker="x", label="300 units, changed in place (wrong)")
    axes.set(xlabel="ε × 255", ylabel="1 - accuracy after / before", ylim=(0, 1))
    axes.legend(fontsize="small")
    save(figure, "curves.svg")
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, one in found["retraining"].items():
        points = [(point["over_255"], point["robust_accuracy"]) for point in one["fgsm"]]
        axes.plot([x for x, _ in points], [rate["value"] for _, rate in points], marker=".", label=name)
        low, high = ([rate[end] for _, rate in points] for end in ("low", "high"))
        axes.fill_between([x for x, _ in points], low, high, alpha=0.2)
    axes.axvline(10, color="0.6", linewidth=0.8)
    axes.set(xlabel="ε × 255", ylabel="robust accuracy under a fresh FGSM", ylim=(0, 1))
    axes.legend()
    save(figure, "retraining.svg")


def write(found: dict[str, Any], out: Path) -> None:
    """Write study.json, and the tables and figures made from it."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "study.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    parts = [f"## {name}\n\n{text}\n" for name, text in tables(found).items()]
    named = ", ".join(finding["cause"] for finding in found["mistake"])
    text = "\n".join(["# The study\n", *parts, f"`verify` on the attack in place: {named}\n"])
    (out / "study.md").write_text(text, encoding="utf-8")
    draw(found, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist", choices=["fashion-mnist", "mnist"])
    parser.add_argument("--data-root", default=None, help="directory of torchvision's data set")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds for the analysis of static retraining")
    parser.add_argument("--out", type=Path, default=None, help="directory for study.json, tables and figures")
    parser.add_argument("--quick", action="store_true", help="only show that the program runs; the numbers mean nothing")
    args = parser.parse_args()
    place = {} if args.data_root is None else {"root": args.data_root}
    if args.quick:
        data = rf.load_data(args.data, limit=1000, **place)
        plan = Plan(data, data, WIDTHS[:1], 1, 1, args.seed, 1)
    else:
        data, test = rf.load_data(args.data, split="train", **place), rf.load_data(args.data, **place)
        plan = Plan(data, test, WIDTHS, args.epochs, 10, args.seed, args.seeds)
    found: dict[str, Any] = {
        "data": {"name": args.data, "trained_on": len(plan.data), "tested_on": len(plan.test)},
        "test_fingerprint": plan.test.fingerprint,
        "epochs": plan.epochs,
        "retraining_epochs": plan.retraining,
        "seed": plan.seed,
        "quick": args.quick,
        "environment": describe_environment(torch.device("cpu")),
    }
    for name, part in study(plan):
        found[name] = part
        print(f"{name} measured", flush=True)
        if args.out is not None and "why" in found:
            write(found, args.out)
    print(*(f"\n{name}\n\n{text}" for name, text in tables(found).items()), sep="\n")


if __name__ == "__main__":
    main()
