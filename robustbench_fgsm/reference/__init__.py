"""Other libraries' fast gradient methods behind our signature, each found when it is named."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Protocol

from torch import Tensor

from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec

REFERENCES = {"art": "adversarial-robustness-toolbox"}
"""Names of references, each a module of this package, and the distribution that each one needs."""


class Reference(Protocol):
    """Another library at work on its own copy of a classifier."""

    name: str
    version: str
    different_execution: bool
    """Whether it computes in another framework, memory layout or device than ours, so that pooling ties may fall otherwise."""

    def predict(self, x: Tensor) -> Tensor:
        """Outputs (N, K) of images (N, C, H, W)."""

    def fgsm(self, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        """Adversarial images; y: labels, or targets where the attack is targeted."""


def check_references(names: Iterable[str]) -> list[str]:
    """The names without surrounding space and without repetition; raises SettingError for an unknown one."""
    found = list(dict.fromkeys(name.strip() for name in names))
    for name in found:
        if name not in REFERENCES:
            known = ", ".join(REFERENCES)
            raise SettingError(f"references must be of {known}, got {name!r}: {did_you_mean(name, REFERENCES)}")
    return found


def load_reference(name: str, classifier: Classifier, spec: AttackSpec, batch_size: int) -> Reference:
    """The reference of that name, with its own copy of the classifier, set so that it is meant to agree with ours.

    Raises ModelError where it cannot take such a classifier.
    """
    reference: Reference = import_module(f"{__name__}.{name}").prepare(classifier, spec, batch_size)
    return reference
