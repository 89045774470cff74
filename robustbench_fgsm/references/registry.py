"""Other libraries' fast gradient methods behind our signature, each found when it is named.

Four come with this package; any other package adds one by an entry point. Listing them loads neither them nor torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Any, Protocol

from robustbench_fgsm.errors import SettingError, describe_error, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from robustbench_fgsm.models.classifier import Classifier
    from robustbench_fgsm.spec import AttackSpec
    from robustbench_fgsm.stats.rate import Rate
    from robustbench_fgsm.stats.tally import Tally

BUILT_IN_REFERENCES = {
    "art": "adversarial-robustness-toolbox",
    "foolbox": "foolbox",
    "torchattacks": "torchattacks",
    "cleverhans": "cleverhans",
}
"""Names of built-in references, each a module of this package, and the distribution that each one needs."""

REFERENCE_ENTRY_POINT_GROUP = "robustbench_fgsm.references"
"""Entry points of this group are references of other packages: a name, and a module or object with `prepare`."""


@dataclass(frozen=True)
class OwnSuccess:
    """What a library itself calls success: in words that name the denominator, and as a rate of that library's counts."""

    definition: str
    rate: Callable[[Tally], Rate]


class Reference(Protocol):
    """Another library at work on its own copy of a classifier."""

    name: str
    version: str
    norm_floor: float
    """Norm of the summed loss' gradient below which it under-scales a step; 0 where there is no such floor."""
    different_execution: bool
    """Whether it computes in another framework, memory layout or device than ours, so that pooling ties may fall otherwise."""
    own_success: OwnSuccess | None
    """Its own definition of success; None where the library has none."""

    def predict(self, x: Tensor) -> Tensor:
        """Outputs (N, K) of images (N, C, H, W)."""

    def fgsm(self, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        """Adversarial images; y: labels, or targets where the attack is targeted."""


@dataclass(frozen=True)
class ReferenceInfo:
    """One reference that can be named; version and install: None where it is not installed, and where it can only be."""

    name: str
    package: str
    version: str | None
    install: str | None


def list_references() -> list[ReferenceInfo]:
    """All references, the built-in ones first; none of them is imported."""
    own = [
        ReferenceInfo(name, package, installed_version(name), install_command(name))
        for name, package in BUILT_IN_REFERENCES.items()
    ]
    return own + [ReferenceInfo(name, *_distribution_of(entry), None) for name, entry in _entry_point_references().items()]


def check_references(names: Iterable[str]) -> list[str]:
    """The names without surrounding space and without repetition.

    Raises SettingError for one that is unknown, not installed, or of another package that cannot be imported.
    """
    found = list(dict.fromkeys(name.strip() for name in names))
    known = [*BUILT_IN_REFERENCES, *_entry_point_references()]
    for name in found:
        if name not in known:
            raise SettingError(f"references must be of {', '.join(known)}, got {name!r}: {did_you_mean(name, known)}")
        if name in BUILT_IN_REFERENCES and installed_version(name) is None:
            raise SettingError(f"reference {name} must be installed, got none: {install_command(name)}")
        _reference_factory(name)
    return found


def installed_version(name: str) -> str | None:
    """The version of a built-in reference's distribution; None where it is not installed."""
    try:
        return version(BUILT_IN_REFERENCES[name])
    except PackageNotFoundError:
        return None


def install_command(name: str) -> str:
    """The command that installs a built-in reference's library."""
    # cleverhans asks for TensorFlow, and for `mnist` and `nose`, which no longer build; its PyTorch part needs neither
    return f"pip install {'--no-deps ' if name == 'cleverhans' else ''}{BUILT_IN_REFERENCES[name]}"


def load_reference(name: str, classifier: Classifier, spec: AttackSpec, batch_size: int) -> Reference:
    """The reference of that name, with its own copy of the classifier, set so that it is meant to agree with ours.

    Raises ModelError where it cannot take such a classifier, and SettingError where its library cannot be imported or
    what it makes is not a `Reference`.
    """
    try:
        reference: Reference = _reference_factory(name).prepare(classifier, spec, batch_size)
    except ImportError as error:
        raise SettingError(f"reference {name} must import its library, got {describe_error(error)}: install that again") from error
    missing = [member for member in (*Reference.__annotations__, "predict", "fgsm") if not hasattr(reference, member)]
    if missing:
        raise SettingError(f"reference {name} must have {', '.join(missing)}, got none: see robustbench_fgsm.references.registry")
    return reference


def _reference_factory(name: str) -> Any:
    """The module or object whose `prepare` makes the reference."""
    if name in BUILT_IN_REFERENCES:
        return import_module(f"{__package__}.{name}")
    entry = _entry_point_references()[name]
    package, _ = _distribution_of(entry)
    try:
        maker = entry.load()
    except Exception as error:  # whatever another package raises as it is imported
        raise SettingError(
            f"reference {name} of package {package} must import, got {describe_error(error)}: mend or uninstall that package"
        ) from error
    if not callable(getattr(maker, "prepare", None)):
        raise SettingError(
            f"reference {name} must have a function prepare(classifier, spec, batch_size), got none in {entry.value}: "
            f"mend or uninstall package {package}"
        )
    return maker


def _entry_point_references() -> dict[str, EntryPoint]:
    """References of other packages, by name; a built-in name wins, and after it the package that is found first."""
    found = entry_points(group=REFERENCE_ENTRY_POINT_GROUP)
    return {entry.name: entry for entry in reversed(list(found)) if entry.name not in BUILT_IN_REFERENCES}


def _distribution_of(entry: EntryPoint) -> tuple[str, str]:
    assert entry.dist is not None, "entry points that were found come from a distribution"  # noqa: S101
    return entry.dist.name, entry.dist.version
