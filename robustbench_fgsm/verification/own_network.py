"""A user's own network and images as a case, and the diagnosis of a candidate that disagrees on them."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
from torch import nn

from robustbench_fgsm.data.dataset import Batch, Dataset, first_readable_batch
from robustbench_fgsm.engine.preflight import check_images
from robustbench_fgsm.engine.targets import targets_for
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.classifier import Classifier, PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.references.saved_images import SavedImages
from robustbench_fgsm.spec import DEFAULT_EPSILON, AttackSpec
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.catalogue import Finding
from robustbench_fgsm.variants.recipe import RecipeRunner
from robustbench_fgsm.verification.call_recorder import CallRecorder
from robustbench_fgsm.verification.cases import Case, link_calls
from robustbench_fgsm.verification.findings import collect_findings
from robustbench_fgsm.verification.judge import judge_images
from robustbench_fgsm.verification.result import CaseResult
from robustbench_fgsm.verification.run_case import run_case

MAX_OWN_IMAGES = 16
"""Number of the user's images that are used."""

POOLING_DITHER = 2.0**-10
"""Largest change of a pixel that breaks ties between equal pixels in max-pooling."""


def own_network_case(classifier: Classifier, data: Dataset, epsilon: float = DEFAULT_EPSILON) -> Case:
    """Return a case with the first images of a data set, dithered, on a classifier: one call, twice.

    Raises:
        ModelError: if the classifier is not a PyTorch network on the CPU.
        DataError: if the images do not lie in the classifier's bounds.
    """
    model = _recorded_network(classifier)
    batch = _first_batch(data, classifier)
    generator = torch.Generator().manual_seed(0)
    dither = (torch.rand(batch.images.shape, generator=generator) * 2 - 1) * POOLING_DITHER
    x = (batch.images + dither).clamp(*classifier.bounds)
    call = AttackCall(model, x, batch.labels, epsilon, bounds=classifier.bounds, seed=1)
    return _case_of_one_call_twice(call, f"{len(x)} images of {data.name} on {classifier.info.spec}")


def diagnose_candidate(
    classifier: Classifier, data: Dataset, spec: AttackSpec, candidate: Candidate | SavedImages
) -> list[Finding]:
    """Return why a candidate disagrees on the first images of the data.

    The list is empty if the norm is not L-infinity, if the classifier is not on the CPU, or if targets depend on the outputs.
    Pairs of mistakes that both need a new gradient are not tried.
    """
    batch = _first_batch(data, classifier)
    y = targets_for(batch, spec.target, data.classes, spec.seed)
    if spec.norm != math.inf or classifier.device.type != "cpu" or callable(y):
        return []
    (epsilon,) = spec.epsilons
    model, targeted = _recorded_network(classifier), spec.target.targeted
    case = _case_of_one_call_twice(AttackCall(model, batch.images, y, epsilon, targeted, spec.bounds, seed=1), data.name)
    recipe_runner = RecipeRunner()
    if isinstance(candidate, SavedImages):
        judged = judge_images(recipe_runner, case.calls[0], candidate.by_ids(batch.ids))
        result = CaseResult(case, (judged,), (judged,) if judged.any_wrong else (), (), ())
    else:
        result = run_case(recipe_runner, candidate, case)
    return collect_findings(recipe_runner, [result], quick=True)


def _case_of_one_call_twice(call: AttackCall, about: str) -> Case:
    return Case("own", about, link_calls([call, replace(call, seed=2)]))


def _recorded_network(classifier: Classifier) -> nn.Module:
    if not isinstance(classifier, TorchClassifier) or classifier.device.type != "cpu":
        raise ModelError(
            f"verify needs a PyTorch network on the CPU, got {type(classifier).__name__} on {classifier.device}: pass --device cpu"
        )
    model = classifier.copy_network()
    if not isinstance(model, PixelSpaceNetwork):
        return model
    recorded = copy.copy(model)
    recorded._modules = {"network": CallRecorder(model.network)}
    return recorded


def _first_batch(data: Dataset, classifier: Classifier) -> Batch:
    batch = first_readable_batch(data, MAX_OWN_IMAGES)
    check_images(batch, classifier)
    return batch
