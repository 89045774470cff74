"""Train in a run directory, which holds a checkpoint, and at the end weights, model card and log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from robustbench_fgsm.data.dataset import Dataset, first_readable_batch
from robustbench_fgsm.data.load import as_dataset
from robustbench_fgsm.data.match_model import as_classifier, match_to_classifier
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World, join_world
from robustbench_fgsm.engine.progress_bar import ProgressSetting, as_function, with_progress_bar
from robustbench_fgsm.errors import ModelError, SettingError
from robustbench_fgsm.files.atomic_files import write_bytes, write_json
from robustbench_fgsm.files.regular_files import is_present, read_bytes
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.models.cards import WEIGHTS_FILE
from robustbench_fgsm.models.classifier import ChannelStatistic, PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.models.load import load_from_request
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.models.saved_weights import CARD_FILE, weights_bytes
from robustbench_fgsm.options import RunOptions
from robustbench_fgsm.runs.directory import TRAINING_LOG_FILE, RunDirectory
from robustbench_fgsm.runs.record_schema import run_identity
from robustbench_fgsm.runs.settings import run_settings
from robustbench_fgsm.spec import check_bounds
from robustbench_fgsm.training.loop import CheckCallback, StepCallback, check_trainable, fit, seeded_generators
from robustbench_fgsm.training.recipe import TrainingRecipe, parse_training_epsilon
from robustbench_fgsm.training.result import Training

CHECKPOINT_FILE = "checkpoint.pt"


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoint and the log of a training in its directory; run: identity of the training."""

    directory: Path
    run: str = ""

    def load(self) -> bytes | None:
        """Return the last checkpoint, or None if there is none."""
        place = self.directory / CHECKPOINT_FILE
        return read_bytes(place) if is_present(place) else None

    def save(self, state: bytes, log: list[dict[str, Any]]) -> None:
        """Replace the checkpoint and the log, which has one JSON object in a line."""
        write_bytes(self.directory / CHECKPOINT_FILE, state)
        self.save_log(log)

    def save_log(self, log: list[dict[str, Any]]) -> None:
        """Replace the log alone, in which a process that was killed after its checkpoint lacks the last check."""
        write_bytes(self.directory / TRAINING_LOG_FILE, "".join(f"{json.dumps(line)}\n" for line in log).encode())


@with_progress_bar
@neutral_settings(generators=True)
def train(
    classifier: TorchClassifier | nn.Module | str,
    data: Dataset | Any,
    *,
    out: Path | str | None = None,
    method: str = TrainingRecipe.method,
    epsilon: float | str = TrainingRecipe.epsilon,
    epochs: int = TrainingRecipe.epochs,
    batch_size: int = TrainingRecipe.batch_size,
    optimizer: str = TrainingRecipe.optimizer,
    learning_rate: float = TrainingRecipe.learning_rate,
    weight_decay: float = TrainingRecipe.weight_decay,
    schedule: str = TrainingRecipe.schedule,
    augment: str = TrainingRecipe.augment,
    craft_mode: str = TrainingRecipe.craft_mode,
    clamp: bool = TrainingRecipe.clamp,
    noise: float = TrainingRecipe.noise,
    mix: float = TrainingRecipe.mix,
    held_out: int = TrainingRecipe.held_out,
    early_stop: int = TrainingRecipe.early_stop,
    keep: str = TrainingRecipe.keep,
    precision: str = TrainingRecipe.precision,
    seed: int = TrainingRecipe.seed,
    max_bad: int = RunOptions.max_bad,
    progress: ProgressSetting = None,
    report: CheckCallback | None = None,
) -> Training:
    """Train a classifier on the data: from random weights if it is given by name, else from its own weights.

    Processes that torchrun started share every batch and get equal weights. The main process calls back and writes.

    Args:
        classifier: PyTorch classifier, a bare `nn.Module`, which stays as it is, or the name of an architecture.
        data: the images and their labels: a data set, or anything that `load_data` takes, such as a DataLoader or (x, y).
        out: directory of checkpoint, weights, model card and log; a stopped training continues there. None keeps nothing.
        method: `standard`; `fgsm`, `fgsm-rs` or `n-fgsm`, on images crafted in every step; or `static`, with images that fooled the
            network before training added to the data. Papers: see `TrainingRecipe`.
        epsilon: L-infinity budget of crafted images in pixel space, as a number or as text such as `8/255`.
        epochs: passes over the images.
        batch_size: images in a training step.
        optimizer: `adam` or `sgd`.
        learning_rate: highest learning rate of the schedule.
        weight_decay: weight decay of PyTorch's optimizer.
        schedule: `one-cycle`, `cosine` or `constant`.
        augment: `none`, or `crop:PIXELS`, `flip` or both with a comma between.
        craft_mode: mode of batch norm and dropout while images are crafted: `train`, as published, or `eval`.
        clamp: keep crafted images within pixel bounds.
        noise: half width of the noise of `n-fgsm`, in multiples of epsilon.
        mix: weight of the clean loss under `fgsm`, in [0, 1].
        held_out: number of images that are not trained on. They are checked four times an epoch: clean, under FGSM and under ART's
            PGD-10.
        early_stop: stop after this number of epochs without a better accuracy on held-out images; 0 for never.
        keep: weights that are kept: those of the `best` accuracy under PGD, the `last`, or `auto`.
        precision: `auto`, `float32` or `bfloat16`.
        seed: seed of weights, order, noise and augmentation.
        max_bad: number of unreadable images above which the training is invalid.
        progress: called with steps done and steps in all; by default a bar in notebooks and terminals; False for none.
        report: called with every check.

    Returns:
        The training, with its classifier and its log.

    Raises:
        SettingError, ModelError, DataError: if settings, model and data do not fit each other.
        InvalidRunError: if the loss is not finite, or too many images are unreadable.
        RunError: if the directory is of another run.
        ResourceError: if the directory cannot be written.
    """
    recipe = TrainingRecipe(
        method,
        parse_training_epsilon(epsilon),
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
    world, data = join_world(), as_dataset(data)
    if isinstance(classifier, str):
        classifier = create_untrained_classifier(classifier, data, seed=seed, device=world.local_device("auto"))
    run = TrainingRun(cast("TorchClassifier", as_classifier(classifier, data)), data, recipe, max_bad)
    return train_in_directory(run, None if out is None else Path(out), progress=as_function(progress), report=report, world=world)


@dataclass(frozen=True)
class TrainingRun:
    """A training: the classifier before its first step, the images, and the recipe."""

    classifier: TorchClassifier
    data: Dataset
    recipe: TrainingRecipe
    max_bad: int = 0


def train_in_directory(
    run: TrainingRun,
    out: Path | None,
    *,
    progress: StepCallback | None = None,
    report: CheckCallback | None = None,
    world: World = SINGLE_PROCESS,
) -> Training:
    """Return a training, continued from its last checkpoint in the directory; without a directory nothing is kept."""
    classifier, recipe = run.classifier, run.recipe
    data = match_to_classifier(run.data, classifier)
    check_trainable(classifier, data, recipe, world)  # before a directory is made
    settings = partial(
        run_settings,
        "train",
        classifier,
        data,
        None,
        max_bad=run.max_bad,
        hash_images=out is not None,
        recipe=recipe.to_dict(),
        processes=world.size,
    )
    files = (CHECKPOINT_FILE, TRAINING_LOG_FILE, WEIGHTS_FILE, CARD_FILE)
    with RunDirectory(out, settings, world, files=files, reuse_result=False) as directory:
        training = fit(
            classifier,
            data,
            recipe,
            store=None if out is None else CheckpointStore(out, run_identity(directory.settings)),
            max_bad=run.max_bad,
            progress=progress if world.is_main else None,
            report=report if world.is_main else None,
            world=world,
        )
        if out is not None and world.is_main:
            CheckpointStore(out).save_log([check.to_dict() for check in training.checks])
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
    bounds: Sequence[Any] | None = None,
) -> TorchClassifier:
    """Return a network with random weights, drawn from the seed, for the images; raise as `load_classifier` does."""
    shape = tuple(first_readable_batch(data, 1).images.shape[1:])
    if not (num_classes or data.classes):
        raise SettingError(
            f"{data.name} must say its classes, got none: pass --num-classes N (in Python, a classifier made with num_classes=N)"
        )
    request = ModelRequest(
        model,
        model,
        "none",
        data.name,
        num_classes or len(data.classes),
        mean,
        std,
        None if bounds is None else check_bounds(bounds),
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
    description = {
        "num_classes": classifier.num_classes,
        "classes": list(classifier.classes or data.classes),
        "mean": list(info.mean or (0.0,)),
        "std": list(info.std or (1.0,)),
        "bounds": list(classifier.bounds),
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
