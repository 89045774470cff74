"""Write the lock of a run, against which later runs are judged."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from robustbench_fgsm.engine.environment import describe_software
from robustbench_fgsm.evaluation.document import Document, complete_document
from robustbench_fgsm.evaluation.result_protocol import Result
from robustbench_fgsm.runs.lock_file import LOCK_NAME, write_lock
from robustbench_fgsm.runs.read import read_saved_run
from robustbench_fgsm.runs.robustness_lock import RobustnessLock, lock_run
from robustbench_fgsm.stats.rate import Rate


@dataclass(frozen=True, repr=False)
class WrittenLock(Result):
    """A lock that was written, its place, its size in bytes, and the seconds that this took."""

    lock: RobustnessLock
    path: Path
    size: int
    seconds: float

    @property
    def warnings(self) -> list[str]:
        """Return what a reader must know beside the counts."""
        repeats = 0 if self.lock.repeats is None else int(self.lock.repeats.sum())
        found = []
        if repeats:
            found.append(f"{repeats:,} of {self.lock.n:,} images repeat another image of their class: a gate counts each once")
        if not self.lock.has_ties:
            share = Rate(self.lock.close, self.lock.n)
            found.append(
                f"predictions of {share} of the images depend on rounding, too many to count as ties: another machine may give "
                "another verdict"
            )
        return found

    def to_dict(self) -> Document:
        """Return the document of schema `rfgsm.locked/1`."""
        lock = self.lock
        own = {
            "path": str(self.path),
            "bytes": self.size,
            "model": lock.model,
            "data": lock.data,
            "n": lock.n,
            "close": lock.close,
            "attacks": [
                attack.spec.to_dict()
                | {
                    "epsilons": list(attack.spec.epsilons),
                    "clean_accuracy": Rate(int(attack.right[0].sum()), lock.n).to_dict(),
                    "robust_accuracy": [Rate(int(row.sum()), lock.n).to_dict() for row in attack.right[1:]],
                }
                for attack in lock.attacks
            ],
        }
        return complete_document("rfgsm.locked/1", own, describe_software(), self.seconds, warnings=self.warnings)


def lock(run: Path | str, output: Path | str = LOCK_NAME) -> WrittenLock:
    """Write what a gate needs of a finished run into one small text file, to be kept in git.

    Args:
        run: directory that `rfgsm evaluate` or `sweep` wrote with `--out`.
        output: the file; an earlier lock there is replaced.

    Returns:
        The lock, with its size.

    Raises:
        RunError: if the run is not finished.
        InvalidRunError: if its numbers must not be used.
        SettingError: if the file is there and is not a lock.
        ResourceError: if the file cannot be written.
    """
    began = time.perf_counter()
    found = lock_run(read_saved_run(run))
    size = write_lock(found, Path(output))
    return WrittenLock(found, Path(output), size, time.perf_counter() - began)
