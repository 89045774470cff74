"""Models that a user's own function returns: `factory:pkg.mod:fn` or `factory:file.py:fn`."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.classifier import Classifier, PixelSpaceNetwork
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.models.sklearn_model import from_sklearn, is_sklearn_model
from robustbench_fgsm.user_code import call_factory


def load(request: ModelRequest) -> Classifier:
    """Return the model that the user's function returns when it is called without arguments.

    A module maps pixel space to logits, unless mean and std are given. A classifier made by `wrap`, or an ART estimator, has its
    own normalisation. weights: a checkpoint for a module, `auto` to keep the module's weights. Raises ModelError if there is no
    such function, or it returns something else.
    """
    model, code = call_factory(request.name, "a module or a classifier made by wrap", ModelError)
    classifier = _build_from_module(model, request) if isinstance(model, nn.Module) else _check_classifier(model, request)
    classifier.info = replace(classifier.info, spec=request.spec, code_sha256=code)
    return classifier


def _check_classifier(model: object, request: ModelRequest) -> Classifier:
    request.allow_only()
    if any(base.__module__.partition(".")[0] == "art" for base in type(model).__mro__):
        from robustbench_fgsm.models.art import from_art

        model = from_art(model)
    if is_sklearn_model(model):
        model = from_sklearn(model)
    if not isinstance(model, Classifier):
        raise ModelError(f"{request.spec} must return a module or a classifier made by wrap, got {type(model).__name__}")
    return model


def _build_from_module(module: nn.Module, request: ModelRequest) -> Classifier:
    request.allow_only("weights", "num_classes", "mean", "std", "bounds")
    if request.has_weights_file:
        request.load_weights_file(module)
    elif request.weights != "auto":
        raise ModelError(f"weights for a factory must be auto or a checkpoint, got {request.weights!r}: leave it out")
    network, num_classes = PixelSpaceNetwork(module, request.mean, request.std), request.num_classes or count_outputs(module)
    return request.build_classifier(network, num_classes, request.weights if request.has_weights_file else "given")


def count_outputs(module: nn.Module) -> int | None:
    """Return the classes of the last layer that has a number of outputs, 2 for one output; None if no layer has.

    The preflight checks the number.
    """
    sizes = [getattr(part, "out_features", None) or getattr(part, "out_channels", None) for part in module.modules()]
    known = [size for size in sizes if isinstance(size, int)]
    return max(known[-1], 2) if known else None
