"""The page of runs of any kind."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.report.loaded_run import EVALUATION_SCHEMAS, TRAINING_SCHEMA, TRANSFER_SCHEMA, VERIFICATION_SCHEMA, LoadedRun
from robustbench_fgsm.report.pages.evaluations import build_evaluations_page
from robustbench_fgsm.report.pages.training import build_training_page
from robustbench_fgsm.report.pages.transfer import build_transfer_page
from robustbench_fgsm.report.pages.verification import build_verification_page


def build_page(runs: Sequence[LoadedRun]) -> str:
    """Return the page of runs; equal runs always give an equal page.

    Raises SettingError if there are several runs and one is a transfer, a training or a verification, which has a page of its own.
    """
    alone = [run for run in runs if run.document["schema"] not in EVALUATION_SCHEMAS]
    if alone and len(runs) > 1:
        kind = alone[0].document["schema"].removeprefix("rfgsm.").partition("/")[0]
        raise SettingError(f"a page is of one {kind} alone, got {alone[0].name} among {len(runs)} runs: make a page for each")
    makers = {
        TRANSFER_SCHEMA: build_transfer_page,
        TRAINING_SCHEMA: build_training_page,
        VERIFICATION_SCHEMA: build_verification_page,
    }
    return makers[runs[0].document["schema"]](runs[0]) if alone else build_evaluations_page(runs)
