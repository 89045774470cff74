"""Numbers and the page of a result for MLflow and Weights & Biases, if the caller has an active run there."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.page import build_page
from robustbench_fgsm.report.tables.text import epsilon_text

PAGE_FILE = "rfgsm.html"


def gate_numbers(document: Document) -> dict[str, float]:
    """Return the numbers of a gate over all images by name: accuracy and drop, before the attack and at each budget.

    document: of schema `rfgsm.gate/1`. The names hold letters, digits, `_`, `-` and `.` alone.
    """
    found: dict[str, float] = {"rfgsm_passed": float(document["verdict"] == "passed")}
    for drop in document["drops"]:
        if drop["label"] is None:
            at = "clean" if drop["epsilon"] is None else f"eps_{epsilon_text(drop['epsilon']).replace('/', '_')}"
            rule = "" if drop["targeted"] == "none" or drop["epsilon"] is None else f"_{drop['targeted'].replace(':', '_')}"
            found[f"rfgsm_accuracy_{at}{rule}"] = drop["accuracy"]["value"]
            found[f"rfgsm_drop_{at}{rule}"] = drop["drop"]
    return found


def log_to_active_runs(numbers: Mapping[str, float], evaluation: Document) -> list[str]:
    """Log numbers and the page of an evaluation to each active run, and return the names of the libraries that got them.

    A library that the caller has not imported has no active run, and is not imported.
    """
    logged = []
    mlflow: Any = sys.modules.get("mlflow")
    if mlflow is not None and mlflow.active_run() is not None:
        mlflow.log_metrics(dict(numbers))
        mlflow.log_text(_page(evaluation), PAGE_FILE)
        logged.append("mlflow")
    wandb: Any = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.log({**numbers, "rfgsm_page": wandb.Html(_page(evaluation), inject=False)})
        logged.append("wandb")
    return logged


def _page(evaluation: Document) -> str:
    return build_page([LoadedRun("result", evaluation)])
