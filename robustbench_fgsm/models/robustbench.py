"""RobustBench's model zoo: its architectures, and its checkpoints from the place where it keeps them itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robustbench_fgsm.errors import ModelError, SettingError, did_you_mean
from robustbench_fgsm.models.checkpoint import load_weights, read_weights
from robustbench_fgsm.models.classifier import PixelSpace, TorchClassifier, classify
from robustbench_fgsm.models.request import ModelName, ModelRequest

ROOT = Path("models")
"""Where RobustBench keeps checkpoints: models/<dataset>/<threat model>/<name>.pt under the working directory."""

CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
NORMALISATION = {"mu", "sigma", "mean", "std", "normalize.mean", "normalize.std"}
"""Constants of an architecture that old checkpoints do not hold."""


def load(request: ModelRequest) -> TorchClassifier:
    """A network of the zoo, which normalises inside; dataset: cifar10 where nothing was said; threat_model: Linf.

    Its checkpoint is read as tensors alone, where RobustBench itself would unpickle it. Raises ModelError where there is
    no such network, its checkpoint is not in its place or does not fit, and for ensembles.
    """
    request.only("weights", "dataset", "threat_model")
    dataset, threat = request.dataset or "cifar10", request.threat_model or "Linf"
    zoo = _zoo(dataset, threat)
    if request.name not in zoo:
        raise ModelError(
            f"robustbench model must be one for {dataset} and {threat}, got {request.name!r}: {did_you_mean(request.name, zoo)}"
        )
    entry = zoo[request.name]
    if isinstance(entry.get("gdrive_id"), list):
        raise ModelError(
            f"robustbench model must be one network, got {request.name}, an ensemble: use a factory for it"
        )
    if request.weights not in ("auto", "none") and not request.has_file:
        raise ModelError(f"weights for {request.spec} must be auto, none or a checkpoint, got {request.weights!r}")
    network: nn.Module = entry["model"]()
    if request.weights != "none":
        file = Path(request.weights) if request.has_file else ROOT / dataset / threat / f"{request.name}.pt"
        if not file.is_file():
            raise ModelError(
                f"{request.spec} needs its checkpoint, got none: fetch https://drive.google.com/uc?id={entry.get('gdrive_id')} "
                f"and put it at {file}"
            )
        load_weights(network, fitting(read_weights(file), network.state_dict()), str(file))
    return classify(
        PixelSpace(network),
        CLASSES[dataset],
        spec=request.spec,
        weights="none" if request.weights == "none" else f"{dataset} {threat}",
        settings=request.settings,
    )


def fitting(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's tensors by the architecture's names, as RobustBench fits them.

    `module.` and `model.` go from the keys, and `model.` comes back where the network is wrapped with its normalisation,
    whose constants are the architecture's own where the checkpoint has none.
    """
    bare = {key.replace("module.", "").replace("model.", ""): value for key, value in state.items()}
    wrapped = {f"model.{key}": value for key, value in bare.items()}
    named = max((dict(state), bare, wrapped), key=lambda keys: len(keys.keys() & own.keys()))
    constants = {key: own[key] for key in own.keys() - named.keys() if key.removeprefix("model.") in NORMALISATION}
    return named | constants


def names() -> Iterator[ModelName]:
    """All single networks of the zoo."""
    for dataset in CLASSES:
        for threat in ("Linf", "L2", "corruptions"):
            for name, entry in _zoo(dataset, threat).items():
                if not isinstance(entry.get("gdrive_id"), list):
                    file = ROOT / dataset / threat / f"{name}.pt"
                    size = file.stat().st_size if file.is_file() else None
                    yield ModelName(f"robustbench:{name}", f"{dataset} {threat}", size=size, on_disk=size is not None)


def _zoo(dataset: str, threat: str) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports names that timm has moved
            from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel
            from robustbench.model_zoo.models import model_dicts
    except ImportError as error:
        remedy = (
            "pip install 'setuptools<81'"
            if error.name == "pkg_resources"
            else "pip install 'robustbench-fgsm[robustbench]'"
        )
        raise ModelError(f"robustbench must be importable, got {error}: {remedy}") from error
    if dataset not in CLASSES:
        raise SettingError(
            f"dataset must be one of {', '.join(CLASSES)}, got {dataset!r}: {did_you_mean(dataset, CLASSES)}"
        )
    known = {member.value: member for member in model_dicts[BenchmarkDataset(dataset)]}
    if threat not in known:
        raise SettingError(
            f"threat model must be one of {', '.join(known)}, got {threat!r}: {did_you_mean(threat, known)}"
        )
    zoo: dict[str, Any] = model_dicts[BenchmarkDataset(dataset)][ThreatModel(threat)]
    return zoo
