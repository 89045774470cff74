"""Measure the distance of each image of a batch: the smallest budget along its one direction that fools it."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_fgsm.attack.minimal import search_budgets
from robustbench_fgsm.engine.attack_batch import AttackedBatch
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.stats.distance import BISECTIONS, CENSORED, COARSE_GRID, UNKNOWN, distance_levels


def measure_distances(classifier: Classifier, attacked: AttackedBatch, max_epsilon: float) -> Tensor:
    """Return the distances (N,) of a batch as positions in `distance_levels`, from about ten forward passes.

    The coarse grid is scanned from below, and its first interval whose end fools an image is halved six times. An image that is
    fooled and no longer fooled within one interval of the coarse grid is missed there.

    Args:
        classifier: the classifier under attack, without an execution plan that rounds predictions otherwise.
        attacked: the batch with its gradient step, from which every budget starts.
        max_epsilon: largest budget tried, in the units of the images.
    """
    grid = [share * max_epsilon for share in COARSE_GRID]
    step = attacked.gradient_step
    found, lost_class = search_budgets(step, step.outputs, attacked.labels_or_targets, classifier.predict, grid, BISECTIONS)
    tried = torch.from_numpy(distance_levels(max_epsilon)[:CENSORED]).to(found)
    positions = torch.searchsorted((tried[1:] + tried[:-1]) / 2, found.nan_to_num(0))
    positions[found.isnan()] = CENSORED
    positions[found.isnan() & lost_class] = UNKNOWN
    return positions
