"""Request for a model, validated once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustbench_fgsm.errors import ModelError, SettingError, UnsafeError
from robustbench_fgsm.files.regular_files import require_file
from robustbench_fgsm.models.cards import is_weights_file
from robustbench_fgsm.models.checkpoint_match import load_checkpoint, num_classes_in_checkpoint
from robustbench_fgsm.models.classifier import (
    NUM_CLASSES_REMEDY,
    ChannelStatistic,
    ModelInfo,
    PixelSpaceNetwork,
    TorchClassifier,
    build_classifier,
)
from robustbench_fgsm.models.copy_module import unwrap_module
from robustbench_fgsm.models.precision import parse_dtype
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds, Task, check_bounds, check_integer

MODEL_SETTING_NAMES = ("num_classes", "mean", "std", "bounds", "dtype", "dataset", "threat_model", "task")
"""Settings that describe a model which says too little of itself."""


class NormalisationError(ModelError):
    """Checkpoint whose normalisation is not given."""


@dataclass(frozen=True)
class ModelRequest:
    """Model spec with all settings of the load; None, or `auto` for weights, if a setting is not given.

    name: part of the spec behind the prefix. classes, shape: names of the outputs and (C, H, W) of the images, from a file of
    `rfgsm train` or from the training data. checkpoint_parts: how the weights were found in the user's file. The other
    settings are those of `load_classifier`. Raises SettingError for invalid numbers.
    """

    spec: str
    name: str
    weights: str = "auto"
    data: str | None = None
    num_classes: int | None = None
    mean: ChannelStatistic | None = None
    std: ChannelStatistic | None = None
    bounds: Bounds | None = None
    dtype: str | None = None
    dataset: str | None = None
    threat_model: str | None = None
    trust_model_code: bool = False
    task: Task | None = None
    classes: tuple[str, ...] | None = None
    shape: tuple[int, ...] | None = None
    checkpoint_parts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.num_classes is not None:
            check_integer("num classes", self.num_classes, NUM_CLASSES_REMEDY, least=2)
        for name, statistic in (("mean", self.mean), ("std", self.std)):
            if statistic is not None and not all(map(math.isfinite, _statistic_values(statistic))):
                raise SettingError(f"{name} must be finite numbers, got {statistic}: one, or one a channel")
        if self.std is not None and not all(value > 0 for value in _statistic_values(self.std)):
            raise SettingError(f"std must be positive in every channel, got {self.std}")
        if self.bounds is not None:
            object.__setattr__(self, "bounds", check_bounds(self.bounds))
        if self.dtype is not None:
            parse_dtype(self.dtype)

    @property
    def has_weights_file(self) -> bool:
        """Return True if weights names a file of the user's own."""
        return is_weights_file(self.weights)

    @property
    def bounds_or_default(self) -> Bounds:
        """Return the range of the images, [0, 1] by default."""
        return self.bounds or PIXEL_BOUNDS

    def existing_file(self) -> Path:
        """Return the file that the name stands for; raise ModelError if there is none."""
        return require_file(Path(self.name), "model must be a file", ModelError)

    def find_num_classes(self, create: Callable[[int], nn.Module], default: int) -> int:
        """Return the number of classes: that of the request, else that of the user's file of weights, else the default.

        create: function from a number of classes to the network.
        """
        if self.num_classes is not None or not self.has_weights_file:
            return self.num_classes or default
        with torch.device("meta"):
            network = create(default)
        return num_classes_in_checkpoint(unwrap_module(network), Path(self.weights)) or default

    def load_weights_file(self, network: nn.Module, num_classes: int | None = None) -> None:
        """Copy the weights of the user's file into a network; num_classes: its outputs, if `--num-classes` changes them."""
        found = load_checkpoint(unwrap_module(network), Path(self.weights), takes_num_classes=num_classes is not None)
        self.checkpoint_parts.append(found)

    def build_classifier(
        self,
        network: PixelSpaceNetwork,
        num_classes: int | None,
        weights: str,
        *,
        preprocessing: Preprocessing | None = None,
        classes: Sequence[str] | None = None,
        file_sha256: str = "",
        has_variants: bool = True,
    ) -> TorchClassifier:
        """Return the classifier that owns the network, with the settings of the request; see `build_classifier` for the others.

        Raises ModelError if the number of classes is None, because it is unknown.
        """
        if num_classes is None:
            raise ModelError(f"{self.spec} does not tell its number of classes: pass --num-classes")
        if self.dtype is not None:
            network.cast(parse_dtype(self.dtype))
        found = "; ".join(filter(None, self.checkpoint_parts)) or None
        info = ModelInfo(self.spec, weights, preprocessing=preprocessing, checkpoint=found, settings=self.settings)
        return build_classifier(
            network,
            num_classes,
            info,
            bounds=self.bounds_or_default,
            classes=classes,
            file_sha256=file_sha256,
            has_variants=has_variants,
            task=self.task or "multiclass",
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings by name, which load the same model again."""
        given = {name: getattr(self, name) for name in MODEL_SETTING_NAMES if getattr(self, name) is not None}
        return {name: value if isinstance(value, (int, float, str)) else list(value) for name, value in given.items()}

    def allow_only(self, *names: str) -> None:
        """Raise SettingError for a setting that this source ignores; `weights` is one of the names.

        `load_from_request` checks `dtype` and `task`.
        """
        given = {*self.settings} - {"dtype", "task"} | {*(["weights"] if self.weights != "auto" else [])}
        if ignored := sorted(given - set(names)):
            options = ", ".join(f"--{name.replace('_', '-')}" for name in ignored)
            raise SettingError(f"{self.spec} takes no {options}: leave it out")

    def require_normalisation(self) -> tuple[ChannelStatistic, ChannelStatistic]:
        """Return mean and std, which a checkpoint does not state; raise ModelError if they are not given."""
        if self.mean is None or self.std is None:
            raise NormalisationError(
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
    """Model that can be named, and what is known without loading it; size in bytes."""

    spec: str
    weights: str
    parameters: int | None = None
    size: int | None = None
    on_disk: bool | None = None


def _statistic_values(statistic: ChannelStatistic) -> Iterable[float]:
    return statistic if isinstance(statistic, Sequence) else [statistic]
