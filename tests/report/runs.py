"""Runs made by hand from drawn networks, with all that a kept run has."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import describe_data
from robustbench_fgsm.data.sources.fashion_mnist import CLASS_NAMES
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.report.loaded_run import ExampleImage, LoadedRun
from robustbench_fgsm.stats.confusion import matrix_to_json
from robustbench_fgsm.stats.rate import Rate
from robustbench_fgsm.stats.tally import BatchOutcomes, Tally
from robustbench_fgsm.training.recipe import TrainingRecipe
from robustbench_fgsm.training.result import Training
from robustbench_fgsm.training.watch import ValidationCheck, find_catastrophic_overfitting
from tests.report.conftest import subject

Document = dict[str, Any]

HOSTILE = "</script><img src=x onerror=alert(1)>"
TEMPLATE = "{{7*7}}"
TURNED = "\u202eresrever [red]"
FORMULA = "=cmd|' /C calc'!A0"


def hostile(document: Document) -> Document:
    """The same with names that would run, turn round or calculate something, wherever a name may stand."""
    for found in document.get("evaluations", [document]):
        names = found["data"]["classes"]
        names[:4] = [HOSTILE, TEMPLATE, TURNED, FORMULA]
        found["model"]["spec"], found["data"]["spec"] = HOSTILE, f"folder:{TEMPLATE}/{HOSTILE}"
        found["warnings"] = [f"1 image could not be read, first {HOSTILE} ({TEMPLATE})"]
        for at in found["epsilons"]:
            for side in (at, at.get("stable", at)):
                for result in side["per_class"]:
                    result["name"] = names[result["label"]]
    document["warnings"] = document.get("evaluations", [document])[0]["warnings"]
    return document


def gallery(document: Document, targeted: str = "none", size: int = 6) -> tuple[ExampleImage, ...]:
    """A picture for each cell of the matrix after the attack that is not empty, at every budget."""
    generator = np.random.default_rng(0)
    kept: list[ExampleImage] = []
    for found in document.get("evaluations", [document]):
        if found["attack"]["targeted"] != targeted:
            continue
        for at in found["epsilons"]:
            for label, row in enumerate(at["confusion"]):
                for after in np.flatnonzero(row):
                    clean = generator.random((1, size, size), dtype=np.float32)
                    moved = np.sign(generator.random((1, size, size)) - 0.5).astype(np.float32) * at["epsilon"]
                    kept.append(
                        ExampleImage(
                            id=len(kept),
                            label=label,
                            prediction_before=label,
                            prediction_after=int(after),
                            confidence_before=0.75,
                            confidence_after=0.5,
                            epsilon=at["epsilon"],
                            clean=clean,
                            adversarial=np.clip(clean + moved, 0, 1).astype(np.float32),
                            targeted=targeted,
                        )
                    )
    return tuple(kept)


def wide(document: Document, num_classes: int = 1000, n: int = 50_000, budgets: int = 5) -> Document:
    """An evaluation of so many classes, spread over their matrices as a network's would be; document: what it is modelled on."""
    generator = np.random.default_rng(0)
    names = [f"class number {label}" for label in range(num_classes)]
    labels = np.arange(n) % num_classes
    near = (labels + generator.integers(0, 40, n)) % num_classes
    before = np.where(generator.random(n) < 0.8, labels, near)
    flags = np.zeros(n, bool)
    places = []
    clean = None
    for step in range(budgets):
        after = np.where(generator.random(n) < 0.7 - 0.15 * step, before, generator.integers(0, num_classes, n))
        tally = Tally.of(BatchOutcomes(labels, labels, before, after[:, None], None, flags, flags, flags), num_classes)
        clean = {"accuracy": tally.clean_accuracy.to_dict(), "confusion": matrix_to_json(tally.clean)}
        places.append(_place((step + 1) / 255, tally, names))
    made = document | {"clean": clean, "epsilons": places, "n": n, "data": document["data"] | {"classes": names}}
    return made | {"minimal_epsilon": {"n": n, "first_fooled": [], "never": n}}


def _place(epsilon: float, tally: Tally, names: list[str]) -> Document:
    none = Rate(0, tally.n).to_dict()
    return {
        "epsilon": epsilon,
        "robust_accuracy": tally.robust_accuracy.to_dict(),
        "attack_success_rate": tally.attack_success_rate.to_dict(),
        "flip_rate": tally.flip_rate.to_dict(),
        "target_hit_rate": None,
        "accuracy_drop": none,
        "leaked": tally.leaked,
        "worst_class": 0,
        "confusion": matrix_to_json(tally.adversarial),
        "transition": matrix_to_json(tally.transition),
        "per_class": [result.to_dict() for result in tally.per_class(names)],
    }


def run(document: Document, name: str = "a run", **more: Any) -> LoadedRun:
    """A run of that document."""
    return LoadedRun(name, document, **more)


def widest(document: Document) -> Document:
    """With the bundled classes, ten thousand images in every cell, and the longest rates that there can be."""
    whole = {"value": 1.0, "count": 10_000, "n": 10_000, "low": 0.9996, "high": 1.0}

    def widen(value: Any) -> Any:
        if isinstance(value, dict) and value.keys() == whole.keys():
            return whole
        if isinstance(value, dict):
            return {key: 10_000 if key in ("n", "clean_correct") else widen(item) for key, item in value.items()}
        return [widen(item) for item in value] if isinstance(value, list) else value

    wide: Document = widen(document)
    for found in wide.get("evaluations", [wide]):
        found["data"]["classes"] = list(CLASS_NAMES)
        found["clean"]["confusion"] = [[10_000] * 10] * 10
        for at in found["epsilons"]:
            for side in (at, at.get("stable", at)):
                side |= {"confusion": [[10_000] * 10] * 10, "transition": [[10_000] * 10] * 10, "worst_class": 0}
                for result, name in zip(side["per_class"], CLASS_NAMES, strict=True):
                    rates = dict.fromkeys(("robust_accuracy", "attack_success_rate"), whole | {"n": 1000})
                    result.update(rates, name=name, n=1000, clean_correct=1000, most_common_wrong=0)
    return wide


def crossed() -> Document:
    """A transfer between two drawn networks, with all that it may hold."""
    pair, data = [subject(scale)[0] for scale in (1.0, 4.0)], subject(1.0)[1]
    with torch.no_grad():
        for parameter in pair[1].network.parameters():
            parameter.add_(0.1 * torch.rand(parameter.shape, generator=torch.Generator().manual_seed(1)))
    found = rf.transfer(pair, pair[::-1], data, "4,64/255", common=True, per_class=True)
    document: Document = json.loads(json.dumps(found.to_dict()))
    return document


def taught() -> Document:
    """A training that overfits in its second epoch, with what its checks would have said."""
    classifier, data = subject(1.0)
    rights = [(30, 20, 18), (32, 24, 22), (34, 28, 25), (35, 30, 26), (36, 36, 10), (36, 37, 4), (37, 38, 2), (37, 39, 0)]
    checks = tuple(
        ValidationCheck(1 + at // 4, 1 + at % 4, 3 * (at + 1), 2 / (at + 1), 0.002, Rate(clean, 40), Rate(fgsm, 40), Rate(pgd, 40))
        for at, (clean, fgsm, pgd) in enumerate(rights)
    )
    found = Training(
        classifier,
        TrainingRecipe("fgsm", 0.2, epochs=2, held_out=40),
        20,
        checks,
        3,
        find_catastrophic_overfitting(checks, 10),
        False,
        data=describe_data(data),
        environment=describe_environment(classifier.device),
        seconds=1.0,
    )
    document: Document = json.loads(json.dumps(found.to_dict()))
    return document
