"""Assertions for the test suites of other projects: an attack is right, a model is as robust as its lock says."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

from robustbench_fgsm.errors import RunError, SettingError, did_you_mean
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.files.regular_files import is_present
from robustbench_fgsm.options import AttackOptions, DistanceOptions, RunOptions, VerifyOptions
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.report.documents.gate import failure_text
from robustbench_fgsm.report.github import append_job_summary
from robustbench_fgsm.report.summarize import summarize
from robustbench_fgsm.report.tables.markdown import summary_to_markdown
from robustbench_fgsm.runs.gate import Gate, check_gate_settings, gate
from robustbench_fgsm.runs.lock_file import LOCK_NAME, read_lock, write_lock
from robustbench_fgsm.runs.measure_lock import measure_lock
from robustbench_fgsm.verification.result import Verification
from robustbench_fgsm.verification.verify import verify


class CandidateOptions(TypedDict, total=False):
    """How a candidate is called, and what counts as a failure: arguments of `assert_fgsm`."""

    style: str
    strict: bool
    expect: Collection[str]
    time_limit: float
    image_shape: str
    classes: int | None
    one_image: bool


class GateSettings(TypedDict, total=False):
    """How a model is judged against a lock: arguments of `gate`, and the largest budget of `--distance`.

    on: criterion that decides: `accuracy`, `distance` or `both`. Distances are measured unless it is `accuracy`. max_drop: largest
    allowed drop, as a share of the images; 0.01 by default. max_decrease: largest allowed decrease of the distance, such as
    `0.5/255`; 0 by default. max_epsilon: largest budget tried for a distance, in the units of the images; 0.5 by default.
    """

    on: str
    max_drop: float
    max_decrease: float | str
    max_epsilon: float | str


@dataclass(frozen=True)
class LockCheck:
    """Verdict on a model against a lock, and the document of its evaluation; `written` if the lock was written."""

    gate: Gate
    evaluation: Document
    written: bool

    def add_to_job_summary(self) -> None:
        """Append the tables of the gate to the summary of the GitHub job, if this is one."""
        append_job_summary(summary_to_markdown(summarize(self.gate.to_dict())))

    def assert_passed(self) -> None:
        """Raise AssertionError with what moved, by how much and how sure, unless the gate is passed."""
        __tracebackhide__ = True
        if not self.gate.passed:
            raise AssertionError(failure_text(self.gate.to_dict()))


def check_lock(
    model: Any, data: Any, attack: AttackOptions, lock: Path, *, update: bool = False, **settings: Unpack[GateSettings]
) -> LockCheck:
    """Measure a model and judge it against a lock, or write the lock.

    Args:
        model: a classifier, a bare `nn.Module`, or an ART estimator.
        data: a data set, or anything that `load_data` takes, such as a DataLoader or (x, y).
        attack: the attack, at one budget or several.
        lock: file of the lock.
        update: write the lock, and judge nothing.
        settings: what decides, and what is allowed.

    Raises:
        SettingError: a setting is not valid; before a lock is written.
        RunError: there is no lock, or data, classes or attack are not those of the lock.
        InvalidRunError: the numbers of the model must not be used.
    """
    names = list(GateSettings.__annotations__)
    if unknown := next((name for name in settings if name not in names), None):
        raise SettingError(f"a check must have arguments of {', '.join(names)}, got {unknown}: {did_you_mean(unknown, names)}")
    on, max_drop, max_decrease = settings.get("on", "accuracy"), settings.get("max_drop", 0.01), settings.get("max_decrease", 0.0)
    check_gate_settings(max_drop, 0.05, on, max_decrease)  # before a lock is written
    if not (update or is_present(lock)):
        raise RunError(f"{lock.name} must lie beside the test or above it, got none: run pytest --rfgsm-update, and commit {lock}")
    baseline = None if update else read_lock(lock)
    if on != "accuracy" and baseline is not None and any(one.distances is None for one in baseline.attacks):
        raise RunError(f"{lock} must hold distances for on={on!r}, got none: run pytest --rfgsm-update")
    distances = DistanceOptions(on != "accuracy", settings.get("max_epsilon", DistanceOptions.max_epsilon))
    found, evaluation = measure_lock(model, data, attack, RunOptions(), distances)
    if update:
        write_lock(found, lock)
    verdict = gate(found, baseline or found, max_drop, on=on, max_decrease=max_decrease)
    return LockCheck(verdict, evaluation.to_dict(), update)


def find_lock(folder: Path, root: Path, name: str = LOCK_NAME) -> Path:
    """Return the nearest lock from a folder upwards to the root; the path in the folder itself if there is none."""
    places = [folder, *folder.parents]
    above = places[: places.index(root) + 1] if root in places else [folder]
    return next((place / name for place in above if is_present(place / name)), folder / name)


def assert_fgsm(
    candidate: Candidate | Callable[..., object] | str,
    *,
    style: str = VerifyOptions.style,
    strict: bool = VerifyOptions.strict,
    expect: Collection[str] = VerifyOptions.expect,
    time_limit: float = VerifyOptions.time_limit,
    image_shape: str = VerifyOptions.image_shape,
    classes: int | None = VerifyOptions.classes,
    one_image: bool = VerifyOptions.one_image,
) -> Verification:
    """Raise AssertionError with what is wrong as its message, unless the candidate is a right FGSM.

    Args:
        candidate: callable `(model, x, y, epsilon) -> x_adv`, or `file.py:fn` or `pkg.mod:fn`.
        style: how the candidate is called, as for `verify`.
        strict: count deviations that leave the images right as failures.
        expect: ids of deviations to accept, such as `random-start`.
        time_limit: seconds that one call may take.
        image_shape: `CxHxW` of the images that the candidate takes; by default `3x32x32` and others.
        classes: number of classes that the candidate takes; by default 10, and also 2 and 1,000.
        one_image: pass one image at a time.

    Returns:
        The verification, if the candidate is right.

    Raises:
        AssertionError: if the verdict is "wrong" or "incomplete".
        SettingError: if the candidate cannot be loaded, or an id, a shape or the time limit is not valid.
    """
    __tracebackhide__ = True
    found = verify(
        candidate,
        style=style,
        strict=strict,
        expect=expect,
        time_limit=time_limit,
        image_shape=image_shape,
        classes=classes,
        one_image=one_image,
    )
    if found.verdict != "right":
        raise AssertionError(found.summary)
    return found


def assert_attack(
    candidate: Candidate | Callable[..., object] | str,
    method: str,
    *,
    norm: str | float = VerifyOptions.norm,
    steps: int | None = VerifyOptions.steps,
    step_size: str = VerifyOptions.step_size,
    random_start: bool = VerifyOptions.random_start,
    **options: Unpack[CandidateOptions],
) -> Verification:
    """Raise AssertionError with what is wrong as its message, unless the candidate is a right attack of FGSM's family.

    Args:
        candidate: as in `assert_fgsm`.
        method: the attack that the candidate claims to be: `fgsm`, `fgm`, `r+fgsm`, `fgsm-rs`, `bim`, `pgd` or `mi-fgsm`.
        norm: `inf` or `2`; empty for that of the method's paper.
        steps: number of steps, >= 1; None for the method's default.
        step_size: a share of epsilon such as `0.25`, or a size in the units of the pixels such as `2/255`; empty for the
            method's default.
        random_start: the attack starts at a random point of the ball, for `pgd`.
        options: the other arguments of `assert_fgsm`.

    Returns:
        The verification, if the candidate is right.

    Raises:
        AssertionError: if the verdict is "wrong" or "incomplete".
        SettingError: if the candidate cannot be loaded, or a setting does not fit the method.
    """
    __tracebackhide__ = True
    found = verify(candidate, method=method, norm=norm, steps=steps, step_size=step_size, random_start=random_start, **options)
    if found.verdict != "right":
        raise AssertionError(found.summary)
    return found
