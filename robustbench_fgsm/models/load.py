"""Loading of a classifier from a model spec."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustbench_fgsm.errors import ModelError, SettingError
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.models.classifier import ChannelStatistic, Classifier, TorchClassifier
from robustbench_fgsm.models.device import pick_device
from robustbench_fgsm.models.names import is_bundled, split_model_and_weights
from robustbench_fgsm.models.registry import MODEL_SOURCES, ModelSource, find_model_source
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.models.saved_weights import complete_request
from robustbench_fgsm.models.sources import bundled
from robustbench_fgsm.spec import Task, check_bounds, check_task_name, task_of


@neutral_settings(generators=True)
def load_classifier(
    model: str | Path,
    *,
    weights: str | Path = "auto",
    data: str | Path | None = None,
    device: str = "auto",
    num_classes: int | None = None,
    mean: ChannelStatistic | None = None,
    std: ChannelStatistic | None = None,
    bounds: Sequence[Any] | None = None,
    dtype: str | None = None,
    dataset: str | None = None,
    threat_model: str | None = None,
    trust_model_code: bool = False,
    task: Task = "multiclass",
) -> Classifier:
    """Return the classifier that a spec names, on its device.

    Args:
        model: a name of `rfgsm list models`, SOURCE:NAME, or a file; NAME:WEIGHTS and SOURCE:NAME:WEIGHTS name the weights too.
        weights: `auto` (bundled weights if model and data have them, else the source's default), `standard` or `robust` (bundled),
            `none`, a name of the source's own, or a checkpoint.
        data: name of the data set to classify; None for the bundled one.
        device: `auto` (CUDA if available, else CPU), or a device of PyTorch.
        num_classes: number of outputs, >= 2, which a checkpoint does not state; None for the architecture's default.
        mean: mean of a checkpoint's normalisation in pixel space: one value, or one per channel; None if unknown.
        std: standard deviation of a checkpoint's normalisation, as mean.
        bounds: range of the images, as in `wrap`; None for [0, 1].
        dtype: type to which the weights are cast: float64, float32, float16 or bfloat16; None for the network's own.
        dataset: data set of RobustBench; None for cifar10.
        threat_model: threat model of RobustBench; None for Linf.
        trust_model_code: load files that can run code when they are loaded.
        task: `multiclass`, or `multilabel` for a PyTorch network of labels with a sigmoid or logit each; see `wrap`.

    Returns:
        A TorchClassifier; an ArtClassifier for scikit-learn models.

    Raises:
        ModelError: model or weights are unknown, damaged or do not fit.
        UnsafeError: loading would run code that is not trusted.
        SettingError: the device or a setting is unusable.
    """
    spec = _name_or_path("model", model)
    request = ModelRequest(
        spec,
        spec,
        _name_or_path("weights", weights),
        None if data is None else _name_or_path("data", data),
        num_classes,
        mean,
        std,
        None if bounds is None else check_bounds(bounds),
        dtype,
        dataset,
        threat_model,
        trust_model_code,
        None if check_task_name(task) == "multiclass" else task,
    )
    return load_from_request(request, device)


def _name_or_path(name: str, value: object) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise ModelError(f"{name} must be a name or a path, got {value!r:.60}: see rfgsm list models")
    return text


def load_from_request(request: ModelRequest, device: str) -> Classifier:
    """Return the classifier of a request whose name still is the whole spec, on its device."""
    target = pick_device(device)
    model, weights = split_model_and_weights(request.spec)
    if weights != "auto":
        if request.weights not in ("auto", weights):
            raise SettingError(f"weights must be named once, got {weights} in {request.spec} and {request.weights}: leave one out")
        request = replace(request, spec=model, weights=weights)
    entry, name = find_model_source(request.spec)
    request = complete_request(replace(request, name=name))
    source: ModelSource = _source_of_plain_name(request) if entry is None else MODEL_SOURCES.load(entry)
    classifier = source.load(request)
    if request.dtype is not None and classifier.info.dtype != request.dtype:
        raise SettingError(f"{request.spec} takes no --dtype: leave it out, or cast the network where it is made")
    if request.task is not None and task_of(classifier) != request.task:
        raise SettingError(f"{request.spec} takes no --task {request.task}: pass a PyTorch network, or leave it out")
    if isinstance(classifier, TorchClassifier):
        classifier.network.to(target)
    return classifier


def _source_of_plain_name(request: ModelRequest) -> ModelSource:
    """Return the bundled source if it has the model for these data, else torchvision."""
    if is_bundled(request.name, request.weights, request.data):
        return bundled
    from robustbench_fgsm.models.sources import torchvision

    return torchvision
