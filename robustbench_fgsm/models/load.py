"""A model spec to a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from robustbench_fgsm.errors import SettingError, first_line
from robustbench_fgsm.models.architectures import ARCHITECTURES
from robustbench_fgsm.models.classifier import ChannelStatistic, Classifier, TorchClassifier
from robustbench_fgsm.models.registry import MODEL_SOURCES, ModelSource, find_model_source
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.models.saved_weights import complete_request
from robustbench_fgsm.models.sources import bundled
from robustbench_fgsm.spec import Bounds


def load_classifier(
    model: str,
    *,
    weights: str = "auto",
    data: str | None = None,
    device: str = "auto",
    num_classes: int | None = None,
    mean: ChannelStatistic | None = None,
    std: ChannelStatistic | None = None,
    bounds: Bounds | Sequence[float] | None = None,
    dataset: str | None = None,
    threat_model: str | None = None,
    trust_model_code: bool = False,
) -> Classifier:
    """The classifier that a spec names, ready on its device; a TorchClassifier but for scikit-learn's.

    model: a name of `rfgsm list models`, SOURCE:NAME, or a file. weights: `auto` (bundled where model and data have them,
    else the source's default), `standard`, `none`, a name of the source's own, or a checkpoint. data: the data set it is
    to classify; the bundled one where it is None. device: `auto`, `cpu`, `cuda`, ... num_classes, mean, std, bounds: what
    a bare checkpoint does not say. dataset, threat_model: RobustBench's. trust_model_code: load files whose loading can
    run what they hold.

    Raises ModelError where model or weights are unknown, damaged or do not fit, UnsafeError where loading would run what
    was not meant to be run, SettingError for an unusable device or setting.
    """
    request = ModelRequest(
        model,
        model,
        weights,
        data,
        num_classes,
        mean,
        std,
        None if bounds is None else (float(bounds[0]), float(bounds[1])),
        dataset,
        threat_model,
        trust_model_code,
    )
    return load_from_request(request, device)


def load_from_request(request: ModelRequest, device: str) -> Classifier:
    """Return the classifier of a request whose name still is the whole spec, on its device."""
    target = pick_device(device)
    entry, name = find_model_source(request.spec)
    request = complete_request(replace(request, name=name))
    source: ModelSource = _source_of_plain_name(request) if entry is None else MODEL_SOURCES.load(entry)
    classifier = source.load(request)
    if isinstance(classifier, TorchClassifier):
        classifier.network.to(target)
    return classifier


def check_model(model: str) -> None:
    """Raise ModelError for a spec that no source knows, or whose source is not installed."""
    entry, name = find_model_source(model)
    if entry is None and name not in ARCHITECTURES:
        from robustbench_fgsm.models.sources import torchvision

        torchvision.check_torchvision_name(name)


def _source_of_plain_name(request: ModelRequest) -> ModelSource:
    """Return the bundled source if it has the model for these data, else torchvision."""
    if bundled.is_bundled_request(request):
        return bundled
    from robustbench_fgsm.models.sources import torchvision

    return torchvision


def pick_device(device: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is one, else the CPU.

    Raises SettingError where there is no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place).cpu()  # there, and able to give its numbers back, unlike `meta`
    except (RuntimeError, AssertionError) as error:
        raise SettingError(
            f"device must be auto, cpu or one that PyTorch has here, got {device!r} ({first_line(error).partition('. ')[0]})"
        ) from None
    return place
