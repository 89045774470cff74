"""A training in a directory: its state while it runs, then weights, model card and log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robustbench_fgsm.data.dataset import Dataset, first_readable_batch
from robustbench_fgsm.data.match_model import match_to_classifier
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World, join_world
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.classifier import ChannelStatistic, PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.models.load import load_from_request
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.models.saved_weights import CARD_FILE, WEIGHTS_FILE, weights_bytes
from robustbench_fgsm.runs.directory import RunDirectory, write_bytes, write_json
from robustbench_fgsm.runs.settings import run_settings
from robustbench_fgsm.spec import DEFAULT_EPSILON, Bounds, parse_epsilon
from robustbench_fgsm.training.loop import CheckCallback, StepCallback, check_trainable, fit, seeded_generators
from robustbench_fgsm.training.recipe import TrainingRecipe
from robustbench_fgsm.training.result import Training

CHECKPOINT_FILE = "checkpoint.pt"
TRAINING_LOG_FILE = "log.jsonl"


@dataclass(frozen=True)
class CheckpointStore:
    """The `Store` of a training in a directory."""

    directory: Path

    def load(self) -> bytes | None:
        """The state kept last, or None."""
        place = self.directory / CHECKPOINT_FILE
        return place.read_bytes() if place.is_file() else None

    def save(self, state: bytes, log: list[dict[str, Any]]) -> None:
        """Keep the state in place of the one before, whole or not at all; and the log, a JSON object a line."""
        write_bytes(self.directory / CHECKPOINT_FILE, state)
        write_bytes(self.directory / TRAINING_LOG_FILE, "".join(f"{json.dumps(line)}\n" for line in log).encode())


def train(
    classifier: TorchClassifier | str,
    data: Dataset,
    *,
    out: Path | str | None = None,
    method: str = "standard",
    epsilon: float | str = DEFAULT_EPSILON,
    epochs: int = 10,
    batch_size: int = 128,
    optimizer: str = "adam",
    learning_rate: float = 0.002,
    weight_decay: float = 0.0,
    schedule: str = "one-cycle",
    augment: str = "none",
    craft_mode: str = "train",
    clamp: bool = True,
    noise: float = 2.0,
    mix: float = 0.5,
    held_out: int = 256,
    early_stop: int = 0,
    keep: str = "auto",
    precision: str = "auto",
    seed: int = 0,
    max_bad: int = 0,
    progress: StepCallback | None = None,
    report: CheckCallback | None = None,
) -> Training:
    """A classifier trained on the data: from scratch where it is given by name, else further from its weights.

    method: `standard`; `fgsm`, `fgsm-rs` or `n-fgsm`, on images crafted in every step at epsilon; or `static`, joined with
    images that fooled the network as it was at first. craft_mode: `train`, as published, or `eval`, for batch norm and
    dropout while crafting. clamp: keep crafted images within the bounds of pixels. noise: of n-fgsm, in epsilons. mix: the
    clean loss's part under `fgsm`. optimizer: `adam` or `sgd`. schedule: `one-cycle`, `cosine` or `constant`. augment:
    `none`, or `crop:PIXELS`, `flip` or both with a comma between. held_out: images to watch, not to train on: clean, under
    FGSM and under ART's PGD-10, four times an epoch. early_stop: epochs without a better watched accuracy after which to
    stop; 0 for never. keep: the weights of the `best` accuracy under PGD, the `last`, or `auto`. precision: `auto`,
    `float32` or `bfloat16`. max_bad: images that may be unreadable. progress: called with steps done and steps in all;
    report: with every check. out: a directory for state, weights, model card and log; a training that was stopped there
    goes on as if it had not been. Processes that torchrun started share every batch and get the same weights; the first
    one calls back, and writes.

    Raises SettingError, ModelError or DataError where these do not make sense together, InvalidRunError where the loss is
    no number any more or too many images cannot be read, RunError for a directory of another run, and ResourceError.
    """
    recipe = TrainingRecipe(
        method,
        parse_epsilon(epsilon)[0],
        epochs,
        batch_size,
        optimizer,
        learning_rate,
        weight_decay,
        schedule,
        augment,
        craft_mode,
        clamp,
        noise,
        mix,
        held_out,
        early_stop,
        keep,
        precision,
        seed,
    )
    world = join_world()
    if isinstance(classifier, str):
        classifier = create_untrained_classifier(classifier, data, seed=seed, device=world.local_device("auto"))
    return train_with_recipe(classifier, data, recipe, None if out is None else Path(out), max_bad, progress, report, world)


def train_with_recipe(
    classifier: TorchClassifier,
    data: Dataset,
    recipe: TrainingRecipe,
    out: Path | None,
    max_bad: int,
    progress: StepCallback | None,
    report: CheckCallback | None,
    world: World = SINGLE_PROCESS,
) -> Training:
    """Train with a parsed recipe, in all processes of the world; see `train`."""
    data = match_to_classifier(data, classifier)
    check_trainable(classifier, data, recipe, world)  # before a directory is made
    settings = run_settings("train", classifier, data, None, max_bad=max_bad, recipe=recipe.to_dict(), processes=world.size)
    files = (CHECKPOINT_FILE, TRAINING_LOG_FILE, WEIGHTS_FILE, CARD_FILE)
    with RunDirectory(out, settings, world, files=files, reuse_result=False) as directory:
        training = fit(
            classifier,
            data,
            recipe,
            store=None if out is None else CheckpointStore(out),
            max_bad=max_bad,
            progress=progress if world.is_main else None,
            report=report if world.is_main else None,
            world=world,
        )
        if out is not None and world.is_main:
            write_trained_model(training, out, data)
            directory.write_result(training.to_dict())
    return training


def create_untrained_classifier(
    model: str,
    data: Dataset,
    *,
    seed: int = 0,
    device: str = "auto",
    num_classes: int | None = None,
    mean: ChannelStatistic | None = None,
    std: ChannelStatistic | None = None,
    bounds: Bounds | Sequence[float] | None = None,
) -> TorchClassifier:
    """A network of that name for these data, with weights drawn from the seed; raises as `load_classifier` does."""
    shape = tuple(first_readable_batch(data, 1).images.shape[1:])
    request = ModelRequest(
        model,
        model,
        "none",
        data.name,
        num_classes or len(data.classes),
        mean,
        std,
        None if bounds is None else (float(bounds[0]), float(bounds[1])),
        classes=data.classes,
        shape=shape,
    )
    with seeded_generators(seed, torch.device("cpu")):
        found = load_from_request(request, device)
    if not isinstance(found, TorchClassifier):
        raise ModelError(f"only a PyTorch network can be trained, got {model}: name an architecture")
    return found


def write_trained_model(training: Training, out: Path, data: Dataset) -> None:
    """Write the weights and their model card."""
    classifier, info = training.classifier, training.model
    network = classifier.network
    assert isinstance(network, PixelSpaceNetwork)  # noqa: S101  (every trained one is)
    low, high = classifier.bounds
    description = {
        "num_classes": classifier.num_classes,
        "classes": list(classifier.classes or data.classes),
        "mean": list(info.mean or (0.0,)),
        "std": list(info.std or (1.0,)),
        "bounds": [low, high],
        "shape": list(first_readable_batch(data, 1).images.shape[1:]),
    }
    content = weights_bytes(network.network.state_dict(), description)
    card = {
        "name": info.spec,
        "weights": "trained",
        "file": WEIGHTS_FILE,
        **description,
        "data": training.data,
        "recipe": training.recipe.to_dict(),
        "n": training.n,
        "kept": training.kept.to_dict(),
        "overfitting": None if training.overfitting is None else training.overfitting.to_dict(),
        "parameters": info.parameters,
        "torch": training.environment["torch"],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_bytes(out / WEIGHTS_FILE, content)
    write_json(out / CARD_FILE, card)
