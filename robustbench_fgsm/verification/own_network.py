"""A user's own network and images as a call of the test bench, and the diagnosis of a candidate that disagrees on them."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
from torch import nn

from robustbench_fgsm.attack.gradient import NO_CLASS, READ_LOGITS
from robustbench_fgsm.data.dataset import Batch, Dataset, first_readable_batch
from robustbench_fgsm.engine.attack_batch import predict_classes
from robustbench_fgsm.engine.preflight import check_images, require_cross_entropy, require_multi_class
from robustbench_fgsm.engine.targets import targets_for
from robustbench_fgsm.errors import InvalidRunError, ModelError, SettingError
from robustbench_fgsm.models.classifier import Classifier, PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.models.precision import output_resolution
from robustbench_fgsm.options import VerifyOptions
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.references.saved_images import SavedImages
from robustbench_fgsm.spec import DEFAULT_EPSILON, PIXEL_BOUNDS, AttackSpec, require_uniform_bounds
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.catalogue import Finding
from robustbench_fgsm.verification.bench_calls import BenchCall, BenchSettings, build_calls
from robustbench_fgsm.verification.call_recorder import CallRecorder
from robustbench_fgsm.verification.check_pixels import check_pixels
from robustbench_fgsm.verification.images import OWN_CALL, read_images
from robustbench_fgsm.verification.sandbox import ObservedCall
from robustbench_fgsm.verification.stage_result import StageResult
from robustbench_fgsm.verification.verify import read_stages, run_calls

MAX_OWN_IMAGES = 16
"""Number of the user's images that are used."""

POOLING_DITHER = 2.0**-10
"""Largest change of a pixel that breaks ties between equal pixels in max-pooling."""


def own_network_call(classifier: Classifier, data: Dataset, epsilon: float = DEFAULT_EPSILON) -> BenchCall:
    """Return a call with the first images of a data set, dithered, on a classifier.

    Raises:
        ModelError: if the classifier is not a PyTorch network on the CPU.
        DataError: if the images do not lie in the classifier's bounds.
        SettingError: if the bounds are not [0, 1], to which the candidate must clip the images of the test bench.
        InvalidRunError: if an image's outputs are not finite.
    """
    if isinstance(classifier, TorchClassifier) and output_resolution(classifier.info.dtype):
        classifier = classifier.variant(torch.float32)  # the candidate is measured, not the rounding of 16 bits
    model = _recorded_network(classifier)
    require_multi_class(classifier, "verify")
    remedy = "use compare, which takes them, or leave out --model"
    low, high = require_uniform_bounds(classifier.bounds, "verify", remedy)
    if classifier.bounds != PIXEL_BOUNDS:  # those of the test bench
        raise SettingError(f"verify needs a model of images in [0, 1], got bounds [{low:g}, {high:g}]: {remedy}")
    batch = _first_batch(data, classifier)
    require_cross_entropy(classifier, batch, "verify")
    generator = torch.Generator().manual_seed(0)
    dither = (torch.rand(batch.images.shape, generator=generator) * 2 - 1) * POOLING_DITHER
    x = (batch.images + dither).clamp(low, high)
    return BenchCall(OWN_CALL, AttackCall(model, x, batch.labels, epsilon, bounds=classifier.bounds, seed=1))


def own_network_calls(classifier: Classifier, data: Dataset) -> list[BenchCall]:
    """Return calls on a classifier that measure an attack without the test bench: repeated, at another budget, and on one image.

    Raises:
        ModelError, DataError: as `own_network_call` does.
    """
    first = own_network_call(classifier, data)
    call = first.call
    others = {
        "repeated": replace(call, seed=2),
        "other budget": replace(call, epsilon=call.epsilon / 3),
        "one image": replace(call, x=call.x[:1], y=call.y[:1]),
    }
    return [first, *(BenchCall(f"{OWN_CALL}, {name}", other) for name, other in others.items())]


def diagnose_candidate(
    classifier: Classifier, data: Dataset, spec: AttackSpec, candidate: Candidate | SavedImages
) -> list[Finding]:
    """Return why a candidate disagrees: what the test bench measures, or else what its images of the first batch show.

    The list is empty if the norm is not L-infinity, if the classifier is not a PyTorch network on the CPU, or if targets depend on
    the outputs; of saved images also if bounds or epsilon differ by feature.
    """
    batch = _first_batch(data, classifier)
    y = targets_for(batch, spec.target, data.classes, spec.seed)
    if spec.norm != math.inf or classifier.device.type != "cpu" or callable(y):
        return []
    if isinstance(candidate, Candidate):
        calls = build_calls(BenchSettings(), targeted=candidate.targets)
        readings, _, _ = read_stages(run_calls(candidate, calls, VerifyOptions.time_limit))
        has_bench_bounds = spec.bounds == PIXEL_BOUNDS
        return _findings([one for one in readings if one.stage != "clip" or has_bench_bounds])
    if not spec.bounds.is_uniform or spec.epsilon_scale is not None:
        return []
    (epsilon,) = spec.epsilons
    call = AttackCall(_recorded_network(classifier), batch.images, y, epsilon, spec.target.targeted, spec.bounds, seed=1)
    unseen = ObservedCall(None, "", "", {}, (), warned=True)
    response = check_pixels(BenchCall("saved images", call), unseen, candidate.by_ids(batch.ids))
    return _findings(read_images(response))


def _findings(readings: list[StageResult]) -> list[Finding]:
    """Return the wrong stages as findings; those without a known mistake have the stage as their cause."""
    return [
        Finding(reading.cause or reading.stage, f"{reading.stage}: {reading.text}", reading.remedy)
        for reading in readings
        if reading.verdict == "wrong"
    ]


def _recorded_network(classifier: Classifier) -> nn.Module:
    if not isinstance(classifier, TorchClassifier) or classifier.device.type != "cpu":
        raise ModelError(
            f"verify needs a PyTorch network on the CPU, got {type(classifier).__name__} on {classifier.device}: pass --device cpu"
        )
    model = classifier.copy_network()
    if not isinstance(model, PixelSpaceNetwork):
        return model
    recorded = copy.copy(model)
    recorded._modules = {"network": CallRecorder(model.network, model.reader or READ_LOGITS)}
    return recorded


def _first_batch(data: Dataset, classifier: Classifier) -> Batch:
    batch = first_readable_batch(data, MAX_OWN_IMAGES)
    check_images(batch, classifier)
    missing = int((predict_classes(classifier, batch.images) == NO_CLASS).sum())
    if missing:
        raise InvalidRunError(
            f"network must return finite outputs, got NaN or infinity for {missing} of the first {len(batch)} images: look in the "
            "network for a division by 0, a logarithm of 0, or an overflow of float16"
        )
    return batch
