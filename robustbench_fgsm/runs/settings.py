"""The settings of a run: all that can change its result or the validity of its result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from robustbench_fgsm.data.content import describe_content
from robustbench_fgsm.data.dataset import Dataset, describe_data, first_readable_batch
from robustbench_fgsm.engine.environment import describe_software
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.errors import RfgsmError
from robustbench_fgsm.global_generators import preserve_generators
from robustbench_fgsm.models.classifier import Classifier, move_to_classifier
from robustbench_fgsm.runs.directory import OUTPUTS_ON_NOISE, same_outputs
from robustbench_fgsm.spec import AttackSpec

NOISE_IMAGES = 16


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
    """Return the settings of a classifier; one that does not come from files alone is known by its outputs on noise too.

    Such a network may depend on values that are neither weights nor code, such as those of a file that its code reads.
    """
    described = classifier.info.to_dict()
    outputs = _outputs_on_noise(classifier, data) if classifier.info.weights == "given" else None
    return described if outputs is None else described | {OUTPUTS_ON_NOISE: outputs}


def _outputs_on_noise(classifier: Classifier, data: Dataset) -> list[float] | None:
    """Return a weighted sum of the outputs for each of NOISE_IMAGES fixed images; None if the outputs vary or there are none."""
    try:
        shape = first_readable_batch(data, 1).images.shape[1:]
        noise = torch.rand(NOISE_IMAGES, *shape, generator=torch.Generator().manual_seed(0))
        low, high = (torch.as_tensor(bound, dtype=torch.float32) for bound in classifier.bounds)
        x = move_to_classifier(low + noise * (high - low), classifier)
        with preserve_generators([classifier.device]):
            once, again = (classifier.predict(x).double().cpu() for _ in range(2))
    except (RfgsmError, RuntimeError, ValueError):  # the run itself says what is wrong
        return None
    sums = [(outputs * torch.cos(torch.arange(1.0, outputs.shape[-1] + 1))).sum(-1).tolist() for outputs in (once, again)]
    return sums[0] if same_outputs(*sums) else None


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
