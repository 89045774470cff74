"""Load a stopped run again from its manifest, so that it can be continued."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.match_model import match_to_classifier
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.evaluation.transfer_counts import TransferModels
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.models.registry import runs_code
from robustbench_fgsm.models.request import MODEL_SETTING_NAMES
from robustbench_fgsm.options import ReloadOptions, TransferOptions
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.load_from_manifest import reload_classifiers, reload_data
from robustbench_fgsm.runs.manifest import read_evaluation_manifest, require_manifest, translate_manifest_errors
from robustbench_fgsm.runs.train import TrainingRun, create_untrained_classifier
from robustbench_fgsm.runs.transfer import TransferRun
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.training.recipe import TrainingRecipe

RELOAD_AS_RECORDED = ReloadOptions()


def reload_evaluation_run(
    directory: Path | str,
    classifier: Classifier | None = None,
    data: Dataset | None = None,
    options: ReloadOptions = RELOAD_AS_RECORDED,
) -> EvaluationRun:
    """Return the evaluation in a directory; `evaluate_in_directory` continues it.

    Args:
        directory: the run directory.
        classifier: the classifier, if the manifest does not name a place to load it from.
        data: the images, likewise.
        options: how classifier and data are loaded again.

    Raises:
        RunError: the directory holds no evaluation.
        UnsafeError: the manifest names code that is not trusted.
        ModelError, DataError: the classifier or the data cannot be loaded.
    """
    recorded = read_evaluation_manifest(Path(directory))
    classifier = classifier or reload_classifiers(recorded.document, "resume", options)[0]
    data = match_to_classifier(data or reload_data(recorded.document, "resume", options), classifier)
    specs = tuple(replace(spec, bounds=classifier.bounds) for spec in recorded.specs)
    return EvaluationRun(
        recorded.command,
        classifier,
        data,
        specs,
        recorded.plan,
        recorded.max_bad,
        checks=recorded.checks,
        thresholds=recorded.thresholds,
    )


def reload_transfer_run(
    directory: Path | str,
    models: Sequence[Classifier] | None = None,
    data: Dataset | None = None,
    options: ReloadOptions = RELOAD_AS_RECORDED,
) -> TransferRun:
    """Return the transfer in a directory, with all models in the manifest's order; `transfer_in_directory` continues it."""
    place = Path(directory)
    document = require_manifest(place)
    with translate_manifest_errors(place):
        attack = AttackSpec.from_dict(document["attack"], document["attack"]["epsilons"])
        sources, targets = (tuple(map(int, document[side])) for side in ("sources", "targets"))
        options_then = TransferOptions(bool(document["common"]), bool(document["per_class"]))
        batch_size, max_bad = int(document["batch_size"]), int(document["max_bad"])
    models = models or reload_classifiers(document, "resume", options)
    data = match_to_classifier(data or reload_data(document, "resume", options), models[0])
    transfer_models = TransferModels(tuple(models), sources, targets)
    return TransferRun(transfer_models, data, replace(attack, bounds=models[0].bounds), options_then, batch_size, max_bad)


def reload_training_run(
    directory: Path | str,
    classifier: TorchClassifier | None = None,
    data: Dataset | None = None,
    options: ReloadOptions = RELOAD_AS_RECORDED,
) -> TrainingRun:
    """Return the training in a directory, with the network before its first step; `train_in_directory` continues it."""
    place = Path(directory)
    document = require_manifest(place)
    with translate_manifest_errors(place):
        recipe, max_bad = TrainingRecipe(**document["recipe"]), int(document["max_bad"])
        model, settings = document["model"], document["model"].get("settings", {})
        untrained = model["weights"] == "none" and options.weights is None and not runs_code(model["spec"])
        described = {name: settings[name] for name in MODEL_SETTING_NAMES if name in settings}
    data = data or reload_data(document, "resume", options)
    found: Classifier | None = classifier
    if found is None and untrained:
        found = create_untrained_classifier(model["spec"], data, seed=recipe.seed, device=options.device, **described)
    elif found is None:
        found = reload_classifiers(document, "resume", options)[0]
    if not isinstance(found, TorchClassifier):
        raise ModelError(f"only a PyTorch network can be trained, got {model['spec']}: choose another directory")
    return TrainingRun(found, data, recipe, max_bad)
