"""A user's own network and images as a case, and the diagnosis of a candidate that disagrees on them."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
from torch import Tensor, nn

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
from robustbench_fgsm.verification import findings
from robustbench_fgsm.verification.call_recorder import CallRecorder
from robustbench_fgsm.verification.case_result import CaseResult
from robustbench_fgsm.verification.cases import Case, link_calls
from robustbench_fgsm.verification.diagnosis import JudgedCall
from robustbench_fgsm.verification.judge import judge_images
from robustbench_fgsm.verification.verify import DEFAULT_TIME_LIMIT, run_case

MAX_OWN_IMAGES = 16
"""Of the user's own, so many are looked at."""

POOLING_DITHER = 2.0**-10
"""How far pixels are moved apart at most, so that max-pooling has no equal ones to pick from."""


def own_network_case(classifier: Classifier, data: Dataset, epsilon: float = DEFAULT_EPSILON) -> Case:
    """The first few images of a data set on a classifier, dithered: one call, and the same again.

    Raises ModelError for anything but a PyTorch network on the CPU, and DataError for images that are not in its bounds.
    """
    model = _recorded_network(classifier)
    batch = _first_batch(data, classifier)
    generator = torch.Generator().manual_seed(0)
    dither = (torch.rand(batch.images.shape, generator=generator) * 2 - 1) * POOLING_DITHER
    x = (batch.images + dither).clamp(*classifier.bounds)
    scene = AttackCall(model, x, batch.labels, epsilon, bounds=classifier.bounds, seed=1)
    about = f"{len(x)} images of {data.name} on {classifier.info.spec}"
    return Case("own", about, link_calls([scene, replace(scene, seed=2)]))


def _recorded_network(classifier: Classifier) -> nn.Module:
    if not isinstance(classifier, TorchClassifier) or classifier.device.type != "cpu":
        raise ModelError(
            f"verify needs a PyTorch network on the CPU, got {type(classifier).__name__} on {classifier.device}: pass --device cpu"
        )
    model = classifier.copy_network()
    if not isinstance(model, PixelSpaceNetwork):
        return model
    probed = copy.copy(model)
    probed._modules = {"network": CallRecorder(model.network)}
    return probed


def _first_batch(data: Dataset, classifier: Classifier) -> Batch:
    batch = first_readable_batch(data, MAX_OWN_IMAGES)
    check_images(batch, classifier)
    return batch


def diagnose_candidate(
    classifier: Classifier, data: Dataset, spec: AttackSpec, candidate: Candidate | SavedImages
) -> list[Finding]:
    """Why a candidate disagrees on the first few images of the data; none where its attack is not ours to judge.

    That is so under another norm than L-infinity, off the CPU, and where targets depend on the outputs. Of pairs of
    mistakes only those are tried in which one changes the gradient.
    """
    batch = _first_batch(data, classifier)
    y = targets_for(batch, spec.target, data.classes, spec.seed)
    if spec.norm != math.inf or classifier.device.type != "cpu" or callable(y):
        return []
    (epsilon,) = spec.epsilons
    scene = AttackCall(
        _recorded_network(classifier), batch.images, y, epsilon, targeted=spec.target.targeted, bounds=spec.bounds, seed=1
    )
    case, kitchen = Case("own", data.name, link_calls([scene, replace(scene, seed=2)])), RecipeRunner()
    if isinstance(candidate, SavedImages):
        result = _saved_images_result(kitchen, case, candidate.by_ids(batch.ids))
    else:
        result = run_case(kitchen, candidate, case, expect=(), time_limit=DEFAULT_TIME_LIMIT)
    return findings.collect_findings(kitchen, [result], (), quick=True)


def _saved_images_result(recipe_runner: RecipeRunner, case: Case, images: Tensor) -> CaseResult:
    """Images that lie there, as if one call had given them."""
    scene = case.calls[0]
    trial = JudgedCall(scene, images, judge_images(recipe_runner, scene, images))
    wrong = (trial,) if bool(trial.judgement.wrong.any()) else ()
    return CaseResult(replace(case, calls=(scene,)), (trial,), wrong, (), ())
