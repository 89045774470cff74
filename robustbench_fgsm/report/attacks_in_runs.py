"""The attacks that a report shows: each attack of each run, as an evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.evaluation import target_rule_name
from robustbench_fgsm.report.evaluations_in import evaluations_in
from robustbench_fgsm.report.loaded_run import LoadedRun

DocumentKind = Literal["evaluation", "sweep", "comparison", "attack"]

OWN_PLACES = {"comparison": {"epsilons/0/": "ours/", "clean/": "ours/clean_"}, "attack": {"epsilons/0/": "adversarial/"}}
"""Places in a document of each kind that is not an evaluation, by the places in the evaluation that is made of it."""


@dataclass(frozen=True)
class ReportedAttack:
    """One attack of one run; pointer_prefix leads to its evaluation in the document of the run."""

    run_index: int
    name: str
    kind: DocumentKind
    pointer_prefix: str
    evaluation: Document

    @property
    def target_rule(self) -> str:
        """Return the targeting rule of the attack."""
        return str(self.evaluation["attack"]["targeted"])

    def pointer(self, path: str) -> str:
        """Return the place of a number: the index of the run and the path in its document."""
        for place, own in OWN_PLACES.get(self.kind, {}).items():
            path = path.replace(place, own)
        return f"{self.run_index}/{self.pointer_prefix}{path}"


def attacks_in_runs(runs: Sequence[LoadedRun]) -> list[ReportedAttack]:
    """Return every attack of every run, each under a unique name."""
    found = [subject for place, run in enumerate(runs) for subject in _attacks_of_run(place, run, alone=len(runs) == 1)]
    seen: Counter[str] = Counter()
    unique = []
    for subject in found:
        seen[subject.name] += 1
        again = f" ({seen[subject.name]})" if seen[subject.name] > 1 else ""
        unique.append(
            ReportedAttack(subject.run_index, subject.name + again, subject.kind, subject.pointer_prefix, subject.evaluation)
        )
    return unique


def _attacks_of_run(place: int, run: LoadedRun, *, alone: bool) -> Iterator[ReportedAttack]:
    kind: DocumentKind = run.document["schema"].removeprefix("rfgsm.").removesuffix("/1")
    for at, evaluation in enumerate(evaluations_in(run.document)):
        name = target_rule_name(evaluation) if alone else f"{run.name}, {target_rule_name(evaluation).lower()}"
        yield ReportedAttack(place, name, kind, f"evaluations/{at}/" if kind == "sweep" else "", evaluation)
