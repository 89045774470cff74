"""The page of runs of any kind, and of any other document."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.report.loaded_run import (
    EVALUATION_SCHEMAS,
    TRAINING_SCHEMA,
    TRANSFER_SCHEMA,
    VERIFICATION_SCHEMA,
    LoadedRun,
    schema_kind,
)
from robustbench_fgsm.report.pages.evaluations import build_evaluations_page
from robustbench_fgsm.report.pages.summary import build_summary_page
from robustbench_fgsm.report.pages.training import build_training_page
from robustbench_fgsm.report.pages.transfer import build_transfer_page
from robustbench_fgsm.report.pages.verification import build_verification_page


def build_page(runs: Sequence[LoadedRun]) -> str:
    """Return the page of runs, or of one document of any schema; equal runs always give an equal page.

    This is the page that `--html` of every command writes: `build_page([LoadedRun("gate", document)])` is that of a gate.

    Raises SettingError if there are several runs and one is not of evaluate, sweep or compare: it has a page of its own.
    """
    alone = [run for run in runs if run.document["schema"] not in EVALUATION_SCHEMAS]
    if not alone:
        return build_evaluations_page(runs)
    (run, *_), schema = alone, alone[0].document["schema"]
    if len(runs) > 1:
        kind = schema_kind(schema).replace("-", " ")
        raise SettingError(f"a page is of one {kind} alone, got {run.name} among {len(runs)} runs: make a page for each")
    makers = {
        TRANSFER_SCHEMA: build_transfer_page,
        TRAINING_SCHEMA: build_training_page,
        VERIFICATION_SCHEMA: build_verification_page,
    }
    return makers.get(schema, build_summary_page)(run)
