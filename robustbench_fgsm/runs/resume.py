"""A stopped run made ready to go on from its manifest alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.match_model import match_to_classifier
from robustbench_fgsm.engine.distributed import World
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.evaluation.transfer_counts import TransferModels
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.models.registry import runs_code
from robustbench_fgsm.models.request import MODEL_SETTING_NAMES
from robustbench_fgsm.runs.manifest import EvaluationRun, read_evaluation_manifest, require_manifest, translate_manifest_errors
from robustbench_fgsm.runs.reload import reload_classifier, reload_classifiers, reload_data
from robustbench_fgsm.runs.train import create_untrained_classifier, train_with_recipe
from robustbench_fgsm.runs.transfer import TransferRun
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.training.loop import CheckCallback, StepCallback
from robustbench_fgsm.training.recipe import TrainingRecipe
from robustbench_fgsm.training.result import Training


def reload_evaluation_run(
    directory: Path | str,
    classifier: Classifier | None = None,
    data: Dataset | None = None,
    *,
    weights: str | None = None,
    device: str = "auto",
    trust_model_code: bool = False,
    trust_data_code: bool = False,
) -> EvaluationRun:
    """The run in that directory, with what its manifest names loaded again; `measure_run` goes on with it.

    classifier, data: what it is about, where the manifest's own names do not lead to it. weights: from another place.
    trust_model_code, trust_data_code: run the code that the manifest's model or data name; whoever wrote the manifest
    chose it.

    Raises RunError where there is no such run, UnsafeError where it names code and there is no trust, ModelError or
    DataError where classifier or data cannot be had.
    """
    recorded = read_evaluation_manifest(Path(directory))
    document = recorded.document
    classifier = classifier or reload_classifier(document, "resume", weights, device, trust_model_code=trust_model_code)
    data = match_to_classifier(data or reload_data(document, "resume", trust_code=trust_data_code), classifier)
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
    *,
    weights: str | None = None,
    device: str = "auto",
    trust_model_code: bool = False,
    trust_data_code: bool = False,
) -> TransferRun:
    """The transfer in that directory, likewise; `transfer_in` goes on with it. models: all, in the manifest's order."""
    place = Path(directory)
    document = require_manifest(place)
    with translate_manifest_errors(place):
        attack = AttackSpec.from_dict(document["attack"], document["attack"]["epsilons"])
        sources, targets = (tuple(map(int, document[side])) for side in ("sources", "targets"))
        own = bool(document["common"]), bool(document["per_class"]), int(document["max_bad"])
        size = int(document["batch_size"])
    models = models or reload_classifiers(document, "resume", weights, device, trust_model_code=trust_model_code)
    data = match_to_classifier(data or reload_data(document, "resume", trust_code=trust_data_code), models[0])
    return TransferRun(TransferModels(tuple(models), sources, targets), data, replace(attack, bounds=models[0].bounds), size, *own)


@dataclass(frozen=True)
class TrainingRun:
    """A training made ready to go on."""

    classifier: TorchClassifier
    data: Dataset
    recipe: TrainingRecipe
    max_bad: int

    def train(self, out: Path, progress: StepCallback | None, report: CheckCallback | None, world: World) -> Training:
        """What comes of it, in its directory; as for `train_in`."""
        return train_with_recipe(self.classifier, self.data, self.recipe, out, self.max_bad, progress, report, world)


def reload_training_run(
    directory: Path | str,
    classifier: TorchClassifier | None = None,
    data: Dataset | None = None,
    *,
    weights: str | None = None,
    device: str = "auto",
    trust_model_code: bool = False,
    trust_data_code: bool = False,
) -> TrainingRun:
    """The training in that directory, likewise. classifier: the network as it was before the first step."""
    place = Path(directory)
    document = require_manifest(place)
    with translate_manifest_errors(place):
        recipe, max_bad = TrainingRecipe(**document["recipe"]), int(document["max_bad"])
        model, settings = document["model"], document["model"].get("settings", {})
        untaught = model["weights"] == "none" and weights is None and not runs_code(model["spec"])
        described = {name: settings[name] for name in MODEL_SETTING_NAMES if name in settings}
    data = data or reload_data(document, "resume", trust_code=trust_data_code)
    found: Classifier | None = classifier
    if found is None and untaught:
        found = create_untrained_classifier(model["spec"], data, seed=recipe.seed, device=device, **described)
    elif found is None:
        found = reload_classifier(document, "resume", weights, device, trust_model_code=trust_model_code)
    if not isinstance(found, TorchClassifier):
        raise ModelError(f"only a PyTorch network can be trained, got {model['spec']}: choose another directory")
    return TrainingRun(found, data, recipe, max_bad)
