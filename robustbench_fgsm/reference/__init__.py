"""Other libraries' fast gradient methods behind our signature, each found when it is named."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from torch import Tensor

from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec

REFERENCES = {
    "art": "adversarial-robustness-toolbox",
    "foolbox": "foolbox",
    "torchattacks": "torchattacks",
    "cleverhans": "cleverhans",
}
"""Names of references, each a module of this package, and the distribution that each one needs."""


class Reference(Protocol):
    """Another library at work on its own copy of a classifier."""

    name: str
    version: str
    norm_floor: float
    """Norm of the summed loss' gradient below which it under-scales a step; 0 where there is no such floor."""
    different_execution: bool
    """Whether it computes in another framework, memory layout or device than ours, so that pooling ties may fall otherwise."""

    def predict(self, x: Tensor) -> Tensor:
        """Outputs (N, K) of images (N, C, H, W)."""

    def fgsm(self, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        """Adversarial images; y: labels, or targets where the attack is targeted."""


def check_references(names: Iterable[str]) -> list[str]:
    """The names without surrounding space and without repetition.

    Raises SettingError for one that is unknown or not installed.
    """
    found = list(dict.fromkeys(name.strip() for name in names))
    for name in found:
        if name not in REFERENCES:
            known = ", ".join(REFERENCES)
            raise SettingError(f"references must be of {known}, got {name!r}: {did_you_mean(name, REFERENCES)}")
        if installed_version(name) is None:
            raise SettingError(f"reference {name} must be installed, got none: pip install {REFERENCES[name]}")
    return found


def installed_version(name: str) -> str | None:
    """The version of the reference's distribution; None where it is not installed."""
    try:
        return version(REFERENCES[name])
    except PackageNotFoundError:
        return None


def load_reference(name: str, classifier: Classifier, spec: AttackSpec, batch_size: int) -> Reference:
    """The reference of that name, with its own copy of the classifier, set so that it is meant to agree with ours.

    Raises ModelError where it cannot take such a classifier.
    """
    reference: Reference = import_module(f"{__name__}.{name}").prepare(classifier, spec, batch_size)
    return reference
