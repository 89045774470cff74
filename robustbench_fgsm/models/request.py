"""What a model source is asked for, checked once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from robustbench_fgsm.errors import ModelError, SettingError, UnsafeError
from robustbench_fgsm.models.classifier import ChannelStatistic
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds

WEIGHT_FILE_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
MODEL_SETTING_NAMES = ("num_classes", "mean", "std", "bounds", "dataset", "threat_model")
"""Settings that describe a model which says too little of itself."""


@dataclass(frozen=True)
class ModelRequest:
    """A model spec and all that was said beside it; None, or `auto` for weights, where nothing was said.

    spec: as it was given. name: the part that is the source's own, after its prefix. data: name of the data set that is
    to be classified. bounds: range of the images; mean and std are in the same units. trust_model_code: whether files
    may be loaded whose loading can run what they hold. classes, shape: names of the outputs and (C, H, W) of the images,
    where a file of `rfgsm train`, or the data that a network is made for, say so. Raises SettingError for what cannot be
    meant.
    """

    spec: str
    name: str
    weights: str = "auto"
    data: str | None = None
    num_classes: int | None = None
    mean: ChannelStatistic | None = None
    std: ChannelStatistic | None = None
    bounds: Bounds | None = None
    dataset: str | None = None
    threat_model: str | None = None
    trust_model_code: bool = False
    classes: tuple[str, ...] | None = None
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.num_classes is not None and self.num_classes < 2:
            raise SettingError(f"num classes must be at least 2, got {self.num_classes}: leave it out where it is known")
        for name, statistic in (("mean", self.mean), ("std", self.std)):
            if statistic is not None and not all(map(math.isfinite, _statistic_values(statistic))):
                raise SettingError(f"{name} must be finite numbers, got {statistic}: one, or one a channel")
        if self.std is not None and not all(value > 0 for value in _statistic_values(self.std)):
            raise SettingError(f"std must be positive in every channel, got {self.std}")
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise SettingError(f"bounds must be low and high, got {self.bounds[0]:g} and {self.bounds[1]:g}: try 0,1")

    @property
    def has_weights_file(self) -> bool:
        """Whether weights names a file of the user's own."""
        return self.weights.endswith(WEIGHT_FILE_SUFFIXES)

    @property
    def bounds_or_default(self) -> Bounds:
        """Range of the images, [0, 1] where nothing was said."""
        return self.bounds or PIXEL_BOUNDS

    @property
    def settings(self) -> dict[str, Any]:
        """What was said, by name: all it takes to load the same again."""
        said = {name: getattr(self, name) for name in MODEL_SETTING_NAMES if getattr(self, name) is not None}
        return {name: value if isinstance(value, (int, float, str)) else list(value) for name, value in said.items()}

    def allow_only(self, *names: str) -> None:
        """Raise SettingError where something was said that this source would not listen to; `weights` is such a name too."""
        said = {*self.settings, *(["weights"] if self.weights != "auto" else [])}
        if deaf := sorted(said - set(names)):
            options = ", ".join(f"--{name.replace('_', '-')}" for name in deaf)
            raise SettingError(f"{self.spec} takes no {options}: leave it out")

    def require_normalisation(self) -> tuple[ChannelStatistic, ChannelStatistic]:
        """Mean and std, which a checkpoint does not tell; raises ModelError where they were not said either."""
        if self.mean is None or self.std is None:
            raise ModelError(
                f"weights {self.weights} need the normalisation they were trained with, got none: "
                "pass --mean and --std, one value or one a channel, or --mean 0 --std 1 where the network does its own"
            )
        return self.mean, self.std

    def require_trust(self, file_kind: str, reason: str) -> None:
        """Raise UnsafeError unless the user trusts the file's code."""
        if not self.trust_model_code:
            raise UnsafeError(
                f"{file_kind} must not be loaded unasked, got {self.spec}: {reason}; "
                "pass --trust-model-code only if you know who made it"
            )


@dataclass(frozen=True)
class ModelListing:
    """A model that can be named, and what is known of it without loading it; size in bytes; on_disk: whether weights are."""

    spec: str
    weights: str
    parameters: int | None = None
    size: int | None = None
    on_disk: bool | None = None


def _statistic_values(statistic: ChannelStatistic) -> Iterable[float]:
    return statistic if isinstance(statistic, Sequence) else [statistic]
