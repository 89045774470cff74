"""RobustBench's model zoo: its architectures, and its checkpoints from RobustBench's own directory."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robustbench_fgsm.errors import ModelError, SettingError, did_you_mean
from robustbench_fgsm.files.regular_files import is_file
from robustbench_fgsm.models.checkpoint import load_weights, read_weights
from robustbench_fgsm.models.classifier import PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.models.request import ModelListing, ModelRequest

CHECKPOINT_ROOT = Path("models")
"""Where RobustBench keeps checkpoints: models/<dataset>/<threat model>/<name>.pt under the working directory."""

NUM_CLASSES_BY_DATASET = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
NORMALISATION_KEYS = {"mu", "sigma", "mean", "std", "normalize.mean", "normalize.std"}
"""Constants of an architecture that old checkpoints do not hold."""


def load(request: ModelRequest) -> TorchClassifier:
    """Return a network of the zoo, which normalises inside; dataset: cifar10 by default; threat_model: Linf by default.

    The checkpoint is read as tensors alone, while RobustBench itself unpickles it. Raises ModelError if there is no such network,
    it is an ensemble, or its checkpoint is missing or does not fit.
    """
    request.allow_only("weights", "dataset", "threat_model")
    dataset, threat = request.dataset or "cifar10", request.threat_model or "Linf"
    zoo = _find_networks(dataset, threat)
    if request.name not in zoo:
        raise ModelError(
            f"robustbench model must be one for {dataset} and {threat}, got {request.name!r}: {did_you_mean(request.name, zoo)}"
        )
    entry = zoo[request.name]
    if isinstance(entry.get("gdrive_id"), list):
        raise ModelError(f"robustbench model must be one network, got {request.name}, an ensemble: use a factory for it")
    if dataset == "imagenet" and "Standard" in request.name:
        raise ModelError(
            f"robustbench model must bring weights of its own, got {request.name}: use resnet50 --weights IMAGENET1K_V1"
        )
    if request.weights not in ("auto", "none") and not request.has_weights_file:
        raise ModelError(f"weights for {request.spec} must be auto, none or a checkpoint, got {request.weights!r}")
    network: nn.Module = entry["model"]()
    if request.weights != "none":
        file = Path(request.weights) if request.has_weights_file else CHECKPOINT_ROOT / dataset / threat / f"{request.name}.pt"
        if not is_file(file):
            raise ModelError(
                f"{request.spec} needs its checkpoint, got none: fetch https://drive.google.com/uc?id={entry.get('gdrive_id')} "
                f"and put it at {file}"
            )
        load_weights(network, match_checkpoint_keys(read_weights(file), network.state_dict()), str(file))
    weights = "none" if request.weights == "none" else f"{dataset} {threat}"
    return request.build_classifier(PixelSpaceNetwork(network), NUM_CLASSES_BY_DATASET[dataset], weights)


def match_checkpoint_keys(state: Mapping[str, Tensor], network_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors under the architecture's names, as RobustBench matches them.

    `module.` and `model.` are removed from the keys, and `model.` is restored if a normalisation wraps the network. Constants of
    the normalisation that old checkpoints lack come from the architecture.
    """
    bare = {key.replace("module.", "").replace("model.", ""): value for key, value in state.items()}
    wrapped = {f"model.{key}": value for key, value in bare.items()}
    matched = max((dict(state), bare, wrapped), key=lambda keys: len(keys.keys() & network_state.keys()))
    constants = {
        key: network_state[key] for key in network_state.keys() - matched.keys() if key.removeprefix("model.") in NORMALISATION_KEYS
    }
    return matched | constants


def names() -> Iterator[ModelListing]:
    """Yield all single networks of the zoo."""
    for dataset, threats in _load_zoo().items():
        for threat, networks in threats.items():
            for name, entry in networks.items():
                if not isinstance(entry.get("gdrive_id"), list):
                    file = CHECKPOINT_ROOT / dataset / threat / f"{name}.pt"
                    size = file.stat().st_size if is_file(file) else None
                    yield ModelListing(f"robustbench:{name}", f"{dataset} {threat}", size=size, on_disk=size is not None)


def _find_networks(dataset: str, threat: str) -> dict[str, Any]:
    zoo = _load_zoo()
    if dataset not in zoo:
        raise SettingError(f"dataset must be one of {', '.join(zoo)}, got {dataset!r}: {did_you_mean(dataset, zoo)}")
    threats = zoo[dataset]
    if threat not in threats:
        raise SettingError(
            f"threat model for {dataset} must be one of {', '.join(threats)}, got {threat!r}: {did_you_mean(threat, threats)}"
        )
    return threats[threat]


def _load_zoo() -> dict[str, dict[str, dict[str, Any]]]:
    """Return RobustBench's networks by data set, threat model and name.

    RobustBench's `__init__` is skipped: it imports evaluation code and its dependencies.
    """
    try:
        with warnings.catch_warnings(), _skip_package_init("robustbench"):
            warnings.simplefilter("ignore")  # it imports names that timm has moved
            found = import_module("robustbench.model_zoo.models").model_dicts
    except ImportError as error:
        raise ModelError(f"robustbench must be importable, got {error}: pip install 'robustbench-fgsm[robustbench]'") from error
    return {dataset.value: {threat.value: networks for threat, networks in threats.items()} for dataset, threats in found.items()}


@contextmanager
def _skip_package_init(package: str) -> Iterator[None]:
    """Make a package importable without running its `__init__`, unless it was imported before."""
    spec = find_spec(package) if package not in sys.modules else None
    if spec is None:
        yield
        return
    sys.modules[package] = module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[package]
