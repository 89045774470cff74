"""Judge `rf.verify` by candidates whose wrong stages are known.

    python tests/verification/candidates/judge.py [--only NAME ...] [FILE ...]

FILE holds CASES: a name -> (candidate, stages that are wrong), and may hold OPTIONAL: a name -> stages that may be called wrong or
right. With ALL_WRONG, a case without named stages is wrong too: at least one optional stage must be called wrong. Without FILE,
`wrong.py` and `right.py` beside this file are read. A wrong case passes if its verdict is "wrong", each wrong
stage is called wrong, and no other stage is, apart from the optional ones. A right case passes if its verdict is "right".
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np
import torch

import robustbench_fgsm as rf

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Case:
    """One candidate and what is true of it.

    wrong: stages that are wrong. optional: stages that may be called wrong or right. is_right: the candidate has no fault.
    """

    name: str
    candidate: Any
    wrong: frozenset[str]
    optional: frozenset[str]
    is_right: bool


@dataclass(frozen=True)
class Judgement:
    """What `rf.verify` says of one case, and whether that is true."""

    case: Case
    verdict: str
    reported: dict[str, str]
    unmeasured: tuple[str, ...]
    seconds: float

    @property
    def passes(self) -> bool:
        """Return True if all wrong stages are reported, and no right one."""
        extra = self.reported.keys() - self.case.wrong - self.case.optional
        if self.case.is_right:
            return not extra and (self.verdict == "right" or (self.verdict == "wrong" and bool(self.reported)))
        return self.verdict == "wrong" and not extra and self.case.wrong <= self.reported.keys() and bool(self.reported)

    def line(self) -> str:
        """Return the case, what is expected and what is reported, in one line."""
        optional = f" (or {','.join(sorted(self.case.optional))})" if self.case.optional else ""
        expected = (",".join(sorted(self.case.wrong)) or "-") + optional
        reported = ",".join(f"{stage}:{cause}" for stage, cause in sorted(self.reported.items())) or "-"
        unmeasured = f" unmeasured {','.join(self.unmeasured)}" if self.unmeasured else ""
        mark = "PASS" if self.passes else "FAIL"
        found = f"{self.verdict:10} expected {expected}; reported {reported}{unmeasured}"
        return f"{mark} {self.case.name:34} {self.seconds:5.1f} s  {found}"


def processor_time() -> float:
    """Return the seconds of processor time of this process and of its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def load_cases(file: Path) -> list[Case]:
    """Return the cases of a Python file."""
    spec = importlib.util.spec_from_file_location(f"candidates_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"FILE must be a Python file, got {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    optional = getattr(module, "OPTIONAL", {})
    all_wrong = getattr(module, "ALL_WRONG", False)
    return [
        Case(name, candidate, frozenset(wrong), frozenset(optional.get(name, ())), not wrong and not all_wrong)
        for name, (candidate, wrong) in module.CASES.items()
    ]


@contextmanager
def global_state_kept() -> Iterator[None]:
    """Restore the global state that candidates may change."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_grad_enabled(True)
        torch.use_deterministic_algorithms(False)
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


def judge(case: Case) -> Judgement:
    """Verify one candidate."""
    start = processor_time()
    try:
        with global_state_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            document = rf.verify(case.candidate).to_dict()
    except rf.RfgsmError as error:
        return Judgement(case, f"error: {error}", {}, (), processor_time() - start)
    stages = document["stages"]
    reported = {stage["stage"]: str(stage["cause"]) for stage in stages if stage["verdict"] == "wrong"}
    unmeasured = tuple(stage["stage"] for stage in stages if stage["verdict"] == "unmeasured")
    return Judgement(case, document["verdict"], reported, unmeasured, processor_time() - start)


def main() -> int:
    """Judge the cases of the files, and return 0 if all pass."""
    parser = argparse.ArgumentParser(description="Judge rf.verify by candidates whose wrong stages are known.")
    parser.add_argument("files", nargs="*", type=Path, default=[HERE / "wrong.py", HERE / "right.py"], metavar="FILE")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="judge these candidates only")
    arguments = parser.parse_args()
    cases = [case for file in arguments.files for case in load_cases(file)]
    if arguments.only:
        cases = [case for case in cases if case.name in arguments.only]
    rf.verify(lambda model, x, y, epsilon: x)  # what is loaded once is not part of a candidate's time
    found = []
    for case in cases:
        found.append(judge(case))
        print(found[-1].line(), flush=True)  # noqa: T201
    print(totals(found))  # noqa: T201
    return 0 if all(judgement.passes for judgement in found) else 1


def totals(found: list[Judgement]) -> str:
    """Return counts of cases that pass, and the largest and the mean time."""
    wrong = [judgement for judgement in found if not judgement.case.is_right]
    right = [judgement for judgement in found if judgement.case.is_right]
    seconds = [judgement.seconds for judgement in found] or [0.0]
    return "\n".join(
        [
            f"wrong: {sum(j.passes for j in wrong)} of {len(wrong)} pass, {sum(j.verdict == 'right' for j in wrong)} called right",
            f"right: {sum(j.passes for j in right)} of {len(right)} pass, {sum(j.verdict == 'wrong' for j in right)} called wrong",
            f"seconds of processor time: mean {sum(seconds) / len(seconds):.1f}, largest {max(seconds):.1f}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
