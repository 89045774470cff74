"""The evaluations that a document of evaluate, sweep, compare or attack holds."""

from __future__ import annotations

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.stats.rate import lowest_rate_by_chance


def evaluations_in(document: Document) -> list[Document]:
    """Return the evaluations of a document.

    A comparison gives our side, without the rates that it does not count. Saved images give the rates as computed in float32.
    """
    if document.get("schema") == "rfgsm.comparison/1":
        return [_ours_as_evaluation(document)]
    if document.get("schema") == "rfgsm.attack/1":
        at = document["adversarial"] | {"epsilon": document["attack"]["epsilon"]}
        return [_as_evaluation(document, document["clean"], at)]
    return list(document.get("evaluations", [document]))


def is_multi_label_document(document: Document) -> bool:
    """Return True if the images of a document have any number of labels each."""
    return bool(evaluations_in(document)[0].get("data", {}).get("task") == "multilabel")


def _ours_as_evaluation(document: Document) -> Document:
    ours, attack = document["ours"], document["attack"]
    present = [result for result in ours["per_class"] if result["n"]]
    worst = min(present, key=lambda result: result["robust_accuracy"]["value"], default=None)
    at = {
        "epsilon": attack["epsilon"],
        "robust_accuracy": ours["robust_accuracy"],
        "attack_success_rate": ours["attack_success_rate"],
        "flip_rate": None,
        "target_hit_rate": None,
        "accuracy_drop": None,
        "leaked": None,
        "worst_class": None if worst is None else worst["label"],
        "worst_class_by_chance": lowest_rate_by_chance(
            [result["n"] for result in present if "labels" not in ours], ours["robust_accuracy"]["value"]
        ),
        "confusion": ours["confusion"],
        "transition": None,
        "per_class": ours["per_class"],
        **({"labels": ours["labels"]} if "labels" in ours else {}),
    }
    labels = {"labels": ours["clean_labels"]} if "labels" in ours else {}
    return _as_evaluation(document, {"accuracy": ours["clean_accuracy"], "confusion": ours["clean_confusion"]} | labels, at)


def _as_evaluation(document: Document, clean: Document, at: Document) -> Document:
    """Return an evaluation at one budget, of a document that is about one; clean: rates before the attack; at: after it."""
    shared = ("model", "data", "attack", "n", "bad", "gradient", "outputs", "environment", "seconds", "plan")
    return {key: document[key] for key in shared if key in document} | {
        "clean": clean,
        "epsilons": [at],
        "minimal_epsilon": None,
        "area_under_curve": None,
        "stable_area_under_curve": None,
    }
