"""What a report is about: each attack of each run, all in the shape of an evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.evaluation import rule_name
from robustbench_fgsm.report.loaded_run import Run

Kind = Literal["evaluation", "sweep", "comparison"]


@dataclass(frozen=True)
class Subject:
    """One attack. run: its place among the runs; prefix: where in its document the evaluation stands."""

    run: int
    name: str
    kind: Kind
    prefix: str
    evaluation: Document

    @property
    def rule(self) -> str:
        """The targeting rule."""
        return str(self.evaluation["attack"]["targeted"])

    def pointer(self, path: str) -> str:
        """Where a number of the evaluation stands: the run's place, and the path in its document."""
        if self.kind == "comparison":
            path = path.replace("epsilons/0/", "ours/").replace("clean/", "ours/clean_")
        return f"{self.run}/{self.prefix}{path}"


def subjects(runs: Sequence[Run]) -> list[Subject]:
    """Every attack of every run, each with a name that no other has."""
    found = [subject for place, run in enumerate(runs) for subject in _of(place, run, alone=len(runs) == 1)]
    seen: Counter[str] = Counter()
    unique = []
    for subject in found:
        seen[subject.name] += 1
        again = f" ({seen[subject.name]})" if seen[subject.name] > 1 else ""
        unique.append(Subject(subject.run, subject.name + again, subject.kind, subject.prefix, subject.evaluation))
    return unique


def evaluations(document: Document) -> list[Document]:
    """The evaluations in a document; a comparison gives our side of it, without the rates that it does not count."""
    if document["schema"] == "rfgsm.sweep/1":
        return list(document["evaluations"])
    return [_our_side(document) if document["schema"] == "rfgsm.comparison/1" else document]


def _of(place: int, run: Run, *, alone: bool) -> Iterator[Subject]:
    kind: Kind = run.document["schema"].removeprefix("rfgsm.").removesuffix("/1")
    for at, evaluation in enumerate(evaluations(run.document)):
        name = rule_name(evaluation) if alone else f"{run.name}, {rule_name(evaluation).lower()}"
        yield Subject(place, name, kind, f"evaluations/{at}/" if kind == "sweep" else "", evaluation)


def _our_side(document: Document) -> Document:
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
        "confusion": ours["confusion"],
        "transition": None,
        "per_class": ours["per_class"],
    }
    shared = ("model", "data", "attack", "n", "bad", "gradient", "environment", "seconds", "plan")
    return {key: document[key] for key in shared if key in document} | {
        "clean": {"accuracy": ours["clean_accuracy"], "confusion": ours["clean_confusion"]},
        "epsilons": [at],
        "minimal_epsilon": None,
        "area_under_curve": None,
        "stable_area_under_curve": None,
    }
