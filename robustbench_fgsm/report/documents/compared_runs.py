"""One table of several runs, with a row for each attack and budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robustbench_fgsm.report.documents.evaluation import target_rule_name
from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE
from robustbench_fgsm.report.evaluations_in import evaluations_in
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.tables.sheet import Cell, Section, Sheet, Summary
from robustbench_fgsm.report.tables.text import model_text

COLUMNS = ("run", "model", "data", "attack", "norm", "seed", "epsilon", "clean", "robust", "worst class", "worst", "success")


def summarize_runs(runs: Sequence[LoadedRun]) -> Summary:
    """Return the table of runs of evaluate, sweep and compare."""
    rows = tuple(row for run in runs for row in _rows(run))
    sheet = Sheet("runs", "Rates in per cent", COLUMNS, rows, intervals_below=True, shared_above=True)
    return Summary((), (Section((sheet,)),), (INTERVAL_NOTE,))


def _rows(run: LoadedRun) -> Iterator[tuple[Cell, ...]]:
    for found in evaluations_in(run.document):
        attack = found["attack"]
        for at in found["epsilons"]:
            worst = None if at["worst_class"] is None else at["per_class"][at["worst_class"]]
            yield (
                run.name,
                model_text(found["model"]),
                found["data"]["spec"],
                target_rule_name(found).lower(),
                str(attack["norm"]),
                str(attack["seed"]),
                float(at["epsilon"]),
                found["clean"]["accuracy"],
                at["robust_accuracy"],
                "" if worst is None else worst["name"],
                None if worst is None else worst["robust_accuracy"],
                at["attack_success_rate"],
            )
