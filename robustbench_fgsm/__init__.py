"""Answers how easily FGSM fools a classifier, class by class, and whether an FGSM implementation is right.

Public names load on first use, so that importing this package loads neither torch nor ART.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robustbench_fgsm.attack.fgsm import fgsm, fgsm_sweep
    from robustbench_fgsm.attack.minimal import Minimal, minimal_epsilon
    from robustbench_fgsm.attack.start import random_start
    from robustbench_fgsm.compare.account import Account
    from robustbench_fgsm.compare.benchmark import benchmark
    from robustbench_fgsm.compare.claims import explain
    from robustbench_fgsm.compare.compare import compare
    from robustbench_fgsm.compare.comparison import Comparison
    from robustbench_fgsm.compare.standing import Benchmark
    from robustbench_fgsm.compare.verification import Verification, verify
    from robustbench_fgsm.data.dataset import ArrayDataset, BadSample, Batch, Dataset
    from robustbench_fgsm.data.images import ImageDataset
    from robustbench_fgsm.data.load import load_data
    from robustbench_fgsm.errors import (
        CandidateError,
        DataError,
        IncompleteError,
        InputError,
        InvalidRunError,
        ModelError,
        ResourceError,
        RfgsmError,
        RunError,
        SettingError,
        UnsafeError,
    )
    from robustbench_fgsm.measure.evaluation import Evaluation
    from robustbench_fgsm.measure.frames import to_pandas
    from robustbench_fgsm.measure.statistics import Rate
    from robustbench_fgsm.measure.sweep import evaluate, sweep
    from robustbench_fgsm.measure.tally import Tally
    from robustbench_fgsm.measure.transfer import Transfer, transfer
    from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, wrap
    from robustbench_fgsm.models.load import load_classifier
    from robustbench_fgsm.models.preprocessing import Preprocessing
    from robustbench_fgsm.reference.candidate import Candidate, load_candidate
    from robustbench_fgsm.report.gate import Gate, gate
    from robustbench_fgsm.runs.adversarial import save_adversarial
    from robustbench_fgsm.runs.replay import AttackCheck, check_adversarial
    from robustbench_fgsm.runs.saved_attack import SavedAttack
    from robustbench_fgsm.runs.training import train
    from robustbench_fgsm.train.training import Training

_WHERE = {
    "Account": "compare.account",
    "ArrayDataset": "data.dataset",
    "AttackCheck": "runs.replay",
    "BadSample": "data.dataset",
    "Batch": "data.dataset",
    "Benchmark": "compare.standing",
    "Candidate": "reference.candidate",
    "CandidateError": "errors",
    "Classifier": "models.classifier",
    "Comparison": "compare.comparison",
    "DataError": "errors",
    "Dataset": "data.dataset",
    "Evaluation": "measure.evaluation",
    "Gate": "report.gate",
    "ImageDataset": "data.images",
    "IncompleteError": "errors",
    "InputError": "errors",
    "InvalidRunError": "errors",
    "Minimal": "attack.minimal",
    "ModelError": "errors",
    "Preprocessing": "models.preprocessing",
    "Rate": "measure.statistics",
    "ResourceError": "errors",
    "RfgsmError": "errors",
    "RunError": "errors",
    "SavedAttack": "runs.saved_attack",
    "SettingError": "errors",
    "Tally": "measure.tally",
    "TorchClassifier": "models.classifier",
    "Training": "train.training",
    "Transfer": "measure.transfer",
    "UnsafeError": "errors",
    "Verification": "compare.verification",
    "benchmark": "compare.benchmark",
    "check_adversarial": "runs.replay",
    "compare": "compare.compare",
    "evaluate": "measure.sweep",
    "explain": "compare.claims",
    "fgsm": "attack.fgsm",
    "fgsm_sweep": "attack.fgsm",
    "gate": "report.gate",
    "load_candidate": "reference.candidate",
    "load_classifier": "models.load",
    "load_data": "data.load",
    "minimal_epsilon": "attack.minimal",
    "random_start": "attack.start",
    "save_adversarial": "runs.adversarial",
    "sweep": "measure.sweep",
    "to_pandas": "measure.frames",
    "train": "runs.training",
    "transfer": "measure.transfer",
    "verify": "compare.verification",
    "wrap": "models.classifier",
}

__all__ = [
    "Account",
    "ArrayDataset",
    "AttackCheck",
    "BadSample",
    "Batch",
    "Benchmark",
    "Candidate",
    "CandidateError",
    "Classifier",
    "Comparison",
    "DataError",
    "Dataset",
    "Evaluation",
    "Gate",
    "ImageDataset",
    "IncompleteError",
    "InputError",
    "InvalidRunError",
    "Minimal",
    "ModelError",
    "Preprocessing",
    "Rate",
    "ResourceError",
    "RfgsmError",
    "RunError",
    "SavedAttack",
    "SettingError",
    "Tally",
    "TorchClassifier",
    "Training",
    "Transfer",
    "UnsafeError",
    "Verification",
    "__version__",
    "benchmark",
    "check_adversarial",
    "compare",
    "evaluate",
    "explain",
    "fgsm",
    "fgsm_sweep",
    "gate",
    "load_candidate",
    "load_classifier",
    "load_data",
    "minimal_epsilon",
    "random_start",
    "save_adversarial",
    "sweep",
    "to_pandas",
    "train",
    "transfer",
    "verify",
    "wrap",
]


class _Package(ModuleType):
    """Keeps `compare` the function: importing the subpackage of that name would put the module in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _WHERE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("robustbench-fgsm")
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
