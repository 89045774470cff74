"""Test the calls that report progress."""

from __future__ import annotations

from robustbench_fgsm.engine.distributed import SINGLE_PROCESS
from robustbench_fgsm.engine.progress import ProgressReporter


def test_reports_fooled_images_before_done_images() -> None:
    calls: list[tuple[str, int, int]] = []
    report = ProgressReporter(
        10, SINGLE_PROCESS, lambda *event: calls.append(("done", *event)), lambda *event: calls.append(("fooled", *event))
    )
    report(4, (1, 3))
    report(6)
    assert calls == [("fooled", 1, 3), ("done", 4, 10), ("done", 10, 10)]


def test_reports_without_a_listener() -> None:
    report = ProgressReporter(10, SINGLE_PROCESS)
    report(4, (1, 3))
    assert report.done == 4
