"""The settings of a run: all that can change its result or the validity of its result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from robustbench_fgsm.data.content import describe_content
from robustbench_fgsm.data.dataset import Dataset, describe_data, first_readable_batch
from robustbench_fgsm.engine.environment import describe_software
from robustbench_fgsm.engine.outputs_on_noise import OutputsOnNoise, outputs_on_noise
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.runs.directory import OUTPUTS_ON_NOISE, same_outputs
from robustbench_fgsm.spec import AttackSpec


def run_settings(
    command: str,
    classifier: Classifier | Sequence[Classifier],
    data: Dataset,
    attack: AttackSpec | Sequence[AttackSpec] | None,
    *,
    max_bad: int,
    plan: Plan | None = None,
    hash_images: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Return the settings of a command's run as JSON; a run directory is continued only if its settings are equal.

    Args:
        command: name of the command, such as `compare`.
        classifier: one classifier, described under `model`, or several, described under `models`.
        data: the images, described with their fingerprint.
        attack: one attack, described under `attack`, or several, described under `attacks`; None if the options describe it.
        max_bad: number of unreadable images above which the result is invalid.
        hash_images: read and hash all images, unless their fingerprint covers every byte; for a run without ledgers, which record
            the hashes.
        plan: execution plan, with its batch size; None if the options hold the batch size.
        options: further settings of this command, by their keys.
    """
    several, first = (classifier, classifier[0]) if isinstance(classifier, Sequence) else (None, classifier)
    described = [describe_model(one, data) for one in several or [first]]
    models = {"model": described[0]} if several is None else {"models": described}
    data_entry = describe_data(data) | (describe_content(data) if hash_images else {})
    shared = {} if plan is None else plan_settings(plan)
    return complete_settings(command, models, data_entry, attack, first.device.type, **shared, max_bad=max_bad, **options)


def complete_settings(
    command: str,
    models: Mapping[str, Any],
    data: Mapping[str, Any],
    attack: AttackSpec | Sequence[AttackSpec] | None,
    device: str,
    **options: Any,
) -> dict[str, Any]:
    """Return the settings of a command's run as JSON, from the entries of its models and data; device: kind of the device."""
    attacks = [] if attack is None else [_attack_settings(spec) for spec in (attack if isinstance(attack, Sequence) else [attack])]
    settings = {
        "command": command,
        **models,
        "data": data,
        **({"attacks": attacks} if isinstance(attack, Sequence) else {"attack": attacks[0]} if attacks else {}),
        **options,
        "device": device,
        "package": describe_software()["package"],
        "torch": torch.__version__,
    }
    found: dict[str, Any] = json.loads(json.dumps(settings))
    return found


def describe_model(classifier: Classifier, data: Dataset) -> dict[str, Any]:
    """Return the settings of a classifier; one that does not come from files alone is known by its outputs on noise too."""
    return name_by_outputs(classifier.info.to_dict(), outputs_on_noise(classifier, lambda: first_readable_batch(data, 1)))


def name_by_outputs(model: dict[str, Any], outputs: OutputsOnNoise | None) -> dict[str, Any]:
    """Return the settings of a classifier with its outputs on noise, if there are any and two calls gave the same ones."""
    return model if outputs is None or not same_outputs(*outputs) else model | {OUTPUTS_ON_NOISE: outputs[0]}


def plan_settings(plan: Plan) -> dict[str, Any]:
    """Return the settings of an execution plan; a plan of level none has its batch size alone."""
    described = {key: value for key, value in plan.to_dict().items() if key != "threads"}
    return {"batch_size": plan.batch_size} | ({} if plan.level == "none" else {"plan": described})


def device_kind(device: str) -> str:
    """Return the kind of a device in an environment, which names a GPU of kind `cuda` by its product name."""
    try:
        return torch.device(device).type
    except RuntimeError:
        return "cuda"


def _attack_settings(spec: AttackSpec) -> dict[str, Any]:
    return spec.to_dict() | {"epsilons": spec.epsilons}
