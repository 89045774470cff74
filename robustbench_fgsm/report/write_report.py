"""Write the page of runs: in directories, in files, or results in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.result_protocol import ReportedResult
from robustbench_fgsm.files.atomic_files import write_bytes
from robustbench_fgsm.report.loaded_run import as_loaded_run
from robustbench_fgsm.runs.manifest import translate_document_errors

Run = Path | str | ReportedResult
"""Directory that `--out` or `save` made, its `result.json`, or a result in memory."""


def write_report(runs: Run | Sequence[Run], output: Path | str = "report.html") -> Path:
    """Write one HTML page of one or more runs, as `rfgsm report` does.

    Args:
        runs: directory of a run or its `result.json`, a result, or a list of these. A transfer, a training or a verification
            has a page alone.
        output: the page, one file.

    Returns:
        The path of the page.

    Raises:
        RunError: a run is not finished, or has no page.
        SettingError: the runs cannot share a page.
        ResourceError: the page cannot be written.
    """
    from robustbench_fgsm.report.pages.page import build_page

    several = [runs] if isinstance(runs, Path | str | ReportedResult) else runs
    if not several:
        raise SettingError("a page needs at least one run, got none: pass a directory or a result")
    loaded, page = [as_loaded_run(run) for run in several], Path(output)
    with translate_document_errors(loaded[0].directory or page):
        text = build_page(loaded)
    write_bytes(page, text.encode())
    return page
