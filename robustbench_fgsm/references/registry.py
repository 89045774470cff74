"""Registry of references: other libraries' fast gradient methods behind our signature, each imported when it is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from robustbench_fgsm.errors import SettingError, describe_error
from robustbench_fgsm.options import FLOOR
from robustbench_fgsm.registry import Registry, RegistryEntry

if TYPE_CHECKING:
    from torch import Tensor

    from robustbench_fgsm.attack.step import Epsilon
    from robustbench_fgsm.models.classifier import Classifier
    from robustbench_fgsm.spec import AttackSpec
    from robustbench_fgsm.stats.rate import Rate
    from robustbench_fgsm.stats.tally import Tally


def _entry(name: str, package: str, pip_options: str = "") -> RegistryEntry:
    return RegistryEntry(name, f"robustbench_fgsm.references.{name}", name, package, pip_options=pip_options)


REFERENCES = Registry(
    "references",
    "prepare(classifier, spec, batch_size)",
    SettingError,
    _entry("art", "adversarial-robustness-toolbox"),
    _entry("foolbox", "foolbox"),
    _entry("torchattacks", "torchattacks"),
    # cleverhans requires TensorFlow, and `mnist` and `nose`, which no longer build; its PyTorch part needs none of them
    _entry("cleverhans", "cleverhans", "--no-deps"),
)


@dataclass(frozen=True)
class OwnSuccess:
    """Success as a library defines it: in words that name the denominator, and as a rate of the library's counts."""

    definition: str
    rate: Callable[[Tally], Rate]


class Reference(Protocol):
    """Another library's attack on its own copy of a classifier."""

    name: str
    version: str
    norm_floor: float
    """Norm of the summed loss' gradient below which it under-scales a step; 0 if it has no floor."""
    different_execution: bool
    """Whether it computes in another framework, memory layout or device than ours, which may break ties in pooling differently."""
    own_success: OwnSuccess | None
    """Its own definition of success; None if the library has no definition."""

    def predict(self, x: Tensor) -> Tensor:
        """Return outputs (N, K) of images (N, C, H, W)."""

    def fgsm(self, x: Tensor, y: Tensor, epsilon: Epsilon) -> Tensor:
        """Return adversarial images; y: labels, or targets of a targeted attack. epsilon: (1, ...) under an epsilon scale."""


def check_references(names: Iterable[str]) -> list[str]:
    """Return the names without surrounding space and without repetition.

    Raises SettingError if a name is unknown, not installed, or of another package that cannot be imported.
    """
    found = list(dict.fromkeys(name.strip() for name in names))
    for name in found:
        REFERENCES.load(REFERENCES.find(name))
    return found


def check_opponents(references: Sequence[str], candidate: object, ignore: Sequence[str]) -> None:
    """Raise SettingError if there is neither a reference nor a candidate, or something else than `floor` is ignored."""
    if not references and candidate is None:
        raise SettingError("references must name at least one if there is no candidate, got none: add art")
    for name in ignore:
        if name != FLOOR:
            raise SettingError(f"ignore must be {FLOOR}, got {name!r}: nothing else that differs can be accepted")


def load_reference(name: str, classifier: Classifier, spec: AttackSpec, batch_size: int) -> Reference:
    """Return the reference of that name over its own copy of the classifier, with settings that agree with our attack.

    Raises ModelError if the reference cannot take the classifier; SettingError if the reference's library cannot be imported, or
    the loaded object is not a `Reference`.
    """
    try:
        reference: Reference = REFERENCES.load(REFERENCES.find(name)).prepare(classifier, spec, batch_size)
    except ImportError as error:
        raise SettingError(f"reference {name} must import its library, got {describe_error(error)}: install that again") from error
    missing = [member for member in (*Reference.__annotations__, "predict", "fgsm") if not hasattr(reference, member)]
    if missing:
        raise SettingError(f"reference {name} must have {', '.join(missing)}, got none: see robustbench_fgsm.references.registry")
    return reference
