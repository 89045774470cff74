"""The page of runs, whatever they are of."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.report.loaded_run import EVALUATION_SCHEMAS, TRAINING_SCHEMA, TRANSFER_SCHEMA, LoadedRun
from robustbench_fgsm.report.pages import evaluations, single


def build_page(runs: Sequence[LoadedRun]) -> str:
    """The whole page; the same runs always give the same page.

    Raises SettingError for several runs of which one is a transfer or a training, which have a page for themselves.
    """
    alone = [run for run in runs if run.document["schema"] not in EVALUATION_SCHEMAS]
    if alone and len(runs) > 1:
        kind = "transfer" if alone[0].document["schema"] == TRANSFER_SCHEMA else "training"
        raise SettingError(f"a page is of one {kind} alone, got {alone[0].name} among {len(runs)} runs: make a page for each")
    makers = {TRANSFER_SCHEMA: single.transfer_page, TRAINING_SCHEMA: single.training_page}
    return makers[runs[0].document["schema"]](runs[0]) if alone else evaluations.build_evaluations_page(runs)
