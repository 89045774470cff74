"""One table of several runs."""

from __future__ import annotations

from typing import Any

from robustbench_fgsm.report.documents.compared_runs import COLUMNS, summarize_runs
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.tables.csv import summary_to_single_csv
from robustbench_fgsm.report.tables.latex import summary_to_latex
from robustbench_fgsm.stats.rate import Rate


def evaluation(robust: int, targeted: str = "none") -> dict[str, Any]:
    rate = Rate(robust, 10).to_dict()
    at = {"robust_accuracy": rate, "attack_success_rate": Rate(9 - robust, 9).to_dict(), "worst_class": 0}
    return {
        "schema": "rfgsm.evaluation/1",
        "model": {"spec": "mlp300", "weights": "standard"},
        "data": {"spec": "fashion-mnist"},
        "attack": {"targeted": targeted, "norm": "inf", "seed": 3},
        "clean": {"accuracy": Rate(9, 10).to_dict()},
        "epsilons": [
            at | {"epsilon": epsilon, "per_class": [{"name": "Shirt", "robust_accuracy": rate}]} for epsilon in (4 / 255, 8 / 255)
        ],
    }


def test_a_row_for_each_run_attack_and_budget() -> None:
    sweep = {"schema": "rfgsm.sweep/1", "evaluations": [evaluation(5), evaluation(4, "next")]}
    (sheet,) = summarize_runs([LoadedRun("a", evaluation(7)), LoadedRun("b", sweep)]).sheets
    assert sheet.columns == COLUMNS
    assert [row[0] for row in sheet.rows] == ["a"] * 2 + ["b"] * 4
    assert [row[3] for row in sheet.rows] == ["untargeted"] * 4 + ["targeted next"] * 2
    assert sheet.rows[0][1:7] == ("mlp300 (standard)", "fashion-mnist", "untargeted", "inf", "3", 4 / 255)
    assert sheet.rows[2][8] == Rate(5, 10).to_dict()


def test_the_table_has_all_formats() -> None:
    summary = summarize_runs([LoadedRun("a_1", evaluation(7))])
    assert summary_to_single_csv(summary).startswith("run,model,data,attack,norm,seed,epsilon,clean,")
    assert r"a\_1 & mlp300 (standard) & fashion-mnist & untargeted & inf & 3 & 8/255" in summary_to_latex(summary)
