"""Choose the target class of each image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.gradient import Labels
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.spec import TargetRule


def targets_for(batch: Batch, rule: TargetRule, classes: Sequence[str], seed: int) -> Labels:
    """Return the labels of an untargeted attack, else the target of each image (N,).

    The least likely class (Kurakin et al. 2017, arXiv:1611.01236) depends on the outputs, so it is returned as a function of
    them. A random target is drawn from (seed, image id), uniformly over the classes other than the label.

    Raises SettingError for an unknown class name, and for a shift or a random target that can only be the label.
    """
    count = len(classes)
    if rule.kind == "none":
        return batch.labels
    if rule.kind == "least-likely":
        return least_likely_class
    if rule.kind == "class":
        if rule.class_name not in classes:
            raise SettingError(
                f"targeted class must be one of the model's, got {rule.class_name!r}: {did_you_mean(rule.class_name, classes)}"
            )
        return torch.full_like(batch.labels, list(classes).index(rule.class_name))
    if rule.kind == "shift":
        if rule.shift % count == 0:
            raise SettingError(
                f"targeted shift must not be a multiple of the {count} classes, got {rule.shift}: it would aim at the label"
            )
        return (batch.labels + rule.shift % count) % count
    if count < 2:
        raise SettingError("a random target needs at least 2 classes, got 1")
    shifts = [int(np.random.default_rng([seed, int(id_)]).integers(1, count)) for id_ in batch.ids]
    return (batch.labels + torch.tensor(shifts, dtype=torch.int64)) % count


def least_likely_class(outputs: Tensor) -> Tensor:
    """Return the classes (N,) with the smallest output."""
    return outputs.argmin(1)
