"""Fixture `rfgsm` of pytest: a model is as robust as `robustness.lock` says. Nothing is loaded until a test uses it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import pytest

if TYPE_CHECKING:
    from robustbench_fgsm.runs.gate import Gate
    from robustbench_fgsm.testing import GateSettings

VERDICT_PROPERTY = "rfgsm_verdict"
LOCK_PROPERTY = "rfgsm_lock"
LIMITS_PROPERTY = "rfgsm_limits"
WRITTEN_LOCKS = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes locks instead of judging models."""
    group = parser.getgroup("rfgsm", "robustness of classifiers")
    group.addoption("--rfgsm-update", action="store_true", help="write each robustness.lock again instead of judging by it")


class RobustnessCheck:
    """Check of models against locks, which the fixture `rfgsm` gives to a test."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    def check(
        self,
        model: Any,
        data: Any,
        eps: float | str = "8/255",
        *,
        norm: str | float = "inf",
        lock: str = "robustness.lock",
        **settings: Unpack[GateSettings],
    ) -> Gate:
        """Assert that a model is as robust on these images as the nearest lock says, and return the verdict.

        Args:
            model: a classifier, a bare `nn.Module`, or an ART estimator.
            data: a data set, or anything that `load_data` takes, such as a DataLoader or (x, y).
            eps: one budget or several, such as `2,4,8/255`.
            norm: order of the norm: `inf`, or any real p >= 1.
            lock: file name of the lock. A second model needs a second lock.
            settings: `on`, what decides: `accuracy`, `distance` or `both`; `max_drop`, largest allowed drop, as a share of the
                images; `max_decrease`, largest allowed decrease of the distance, such as `0.5/255`; `max_epsilon`, largest budget
                tried for a distance.

        Raises:
            AssertionError: if accuracy fell by more than is allowed.
            RunError: if there is no lock, or data, classes or attack are not those of the lock.
        """
        __tracebackhide__ = True
        from robustbench_fgsm.errors import RfgsmError
        from robustbench_fgsm.options import AttackOptions
        from robustbench_fgsm.report.trackers import gate_numbers, log_to_active_runs
        from robustbench_fgsm.testing import check_lock, find_lock

        config = self._request.config
        place = Path(os.path.relpath(find_lock(self._request.path.parent, config.rootpath, lock)))
        update = config.getoption("rfgsm_update")
        written = config.stash.setdefault(WRITTEN_LOCKS, set())
        if update and str(place) in written:
            pytest.fail(f"each lock must have one test, got a second one for {place}: pass lock='NAME.lock' in one of them", False)
        try:
            found = check_lock(model, data, AttackOptions(eps, norm), place, update=update, **settings)
        except RfgsmError as error:  # one line, without the code of this package
            raise error.with_traceback(None) from error.__cause__
        written |= {str(place)} if update else set()
        document = found.gate.to_dict()
        numbers = gate_numbers(document)
        better = found.gate.passed and document["improved"]
        verdict = "written" if update else "better" if better else document["verdict"]
        limits = {LIMITS_PROPERTY: "; ".join(found.gate.limits)} if found.gate.limits else {}
        properties = {LOCK_PROPERTY: str(place), VERDICT_PROPERTY: verdict, **limits, **numbers}
        self._request.node.user_properties.extend(properties.items())
        log_to_active_runs(numbers, found.evaluation)
        found.add_to_job_summary()
        found.assert_passed()
        return found.gate


@pytest.fixture
def rfgsm(request: pytest.FixtureRequest) -> RobustnessCheck:
    """Check of a model against the nearest robustness.lock: `rfgsm.check(model, data, eps="8/255")`."""
    return RobustnessCheck(request)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which locks were written or are out of date, and annotate failed tests in a job of GitHub Actions."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    lines = [line for report in reports for line in _summary_lines(report)]
    written = Counter(properties[LOCK_PROPERTY] for properties in map(_properties, reports) if _is_written(properties))
    lines += [  # by processes that do not know of each other
        f"{lock} was written by {tests} tests, and holds the last one: pass lock='NAME.lock' in all but one"
        for lock, tests in written.items()
        if tests > 1
    ]
    if written and os.environ.get("CI"):
        lines.append("--rfgsm-update judged no model: leave it out in CI, and commit locks that you wrote on your machine")
    if lines:
        terminalreporter.section("robustness")
        for line in lines:
            terminalreporter.write_line(line)


def _properties(report: object) -> dict[str, object]:
    """Return what a test recorded; nothing for its setup and teardown."""
    return dict(getattr(report, "user_properties", ())) if getattr(report, "when", None) == "call" else {}


def _is_written(properties: dict[str, object]) -> bool:
    return properties.get(VERDICT_PROPERTY) == "written"


def _summary_lines(report: object) -> Iterator[str]:
    properties = _properties(report)
    verdict = properties.get(VERDICT_PROPERTY)
    if not isinstance(report, pytest.TestReport) or verdict is None:
        return
    lock = properties[LOCK_PROPERTY]
    if limits := properties.get(LIMITS_PROPERTY):
        yield f"{report.nodeid}: {limits}"
    if verdict == "written":
        yield f"{report.nodeid}: wrote {lock}, commit it"
    if verdict == "better":
        yield f"{report.nodeid}: better than {lock}, so lock it: pytest --rfgsm-update"
    if verdict == "failed":
        from robustbench_fgsm.report.github import error_annotation, is_github_job

        if is_github_job():
            file, line, _ = report.location
            message = getattr(getattr(report.longrepr, "reprcrash", None), "message", report.nodeid)
            yield error_annotation(message, file=file, line=(line or 0) + 1, title="robustness fell")
