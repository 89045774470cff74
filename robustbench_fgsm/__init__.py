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
    from robustbench_fgsm.attack.random_start import random_start
    from robustbench_fgsm.benchmarking.benchmark import benchmark
    from robustbench_fgsm.benchmarking.result import Benchmark
    from robustbench_fgsm.comparison.compare import compare
    from robustbench_fgsm.comparison.result import Comparison
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
    from robustbench_fgsm.evaluation.evaluate import evaluate, sweep
    from robustbench_fgsm.evaluation.result import Evaluation, to_pandas
    from robustbench_fgsm.evaluation.transfer import Transfer, transfer
    from robustbench_fgsm.explanation.explain import explain
    from robustbench_fgsm.explanation.result import Explanation
    from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, wrap
    from robustbench_fgsm.models.load import load_classifier
    from robustbench_fgsm.models.preprocessing import Preprocessing
    from robustbench_fgsm.references.candidate import Candidate, load_candidate
    from robustbench_fgsm.runs.attack.replay import AttackCheck, check_adversarial
    from robustbench_fgsm.runs.attack.result import SavedAttack
    from robustbench_fgsm.runs.attack.save import save_adversarial
    from robustbench_fgsm.runs.gate import Gate, gate
    from robustbench_fgsm.runs.train import train
    from robustbench_fgsm.stats.rate import Rate
    from robustbench_fgsm.stats.tally import Tally
    from robustbench_fgsm.training.result import Training
    from robustbench_fgsm.verification.result import Verification
    from robustbench_fgsm.verification.verify import verify

_WHERE = {
    "Explanation": "explanation.result",
    "ArrayDataset": "data.dataset",
    "AttackCheck": "runs.attack.replay",
    "BadSample": "data.dataset",
    "Batch": "data.dataset",
    "Benchmark": "benchmarking.result",
    "Candidate": "references.candidate",
    "CandidateError": "errors",
    "Classifier": "models.classifier",
    "Comparison": "comparison.result",
    "DataError": "errors",
    "Dataset": "data.dataset",
    "Evaluation": "evaluation.result",
    "Gate": "runs.gate",
    "ImageDataset": "data.images",
    "IncompleteError": "errors",
    "InputError": "errors",
    "InvalidRunError": "errors",
    "Minimal": "attack.minimal",
    "ModelError": "errors",
    "Preprocessing": "models.preprocessing",
    "Rate": "stats.rate",
    "ResourceError": "errors",
    "RfgsmError": "errors",
    "RunError": "errors",
    "SavedAttack": "runs.attack.result",
    "SettingError": "errors",
    "Tally": "stats.tally",
    "TorchClassifier": "models.classifier",
    "Training": "training.result",
    "Transfer": "evaluation.transfer",
    "UnsafeError": "errors",
    "Verification": "verification.result",
    "benchmark": "benchmarking.benchmark",
    "check_adversarial": "runs.attack.replay",
    "compare": "comparison.compare",
    "evaluate": "evaluation.evaluate",
    "explain": "explanation.explain",
    "fgsm": "attack.fgsm",
    "fgsm_sweep": "attack.fgsm",
    "gate": "runs.gate",
    "load_candidate": "references.candidate",
    "load_classifier": "models.load",
    "load_data": "data.load",
    "minimal_epsilon": "attack.minimal",
    "random_start": "attack.random_start",
    "save_adversarial": "runs.attack.save",
    "sweep": "evaluation.evaluate",
    "to_pandas": "evaluation.result",
    "train": "runs.train",
    "transfer": "evaluation.transfer",
    "verify": "verification.verify",
    "wrap": "models.classifier",
}

__all__ = [
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
    "Explanation",
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
