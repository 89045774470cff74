"""Training loop: train a network by a recipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.fgsm import fgsm
from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset, describe_data, first_readable_batch
from robustbench_fgsm.data.match_model import match_to_classifier
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.preflight import check_classes, check_images, require_cross_entropy, require_multi_class
from robustbench_fgsm.errors import InvalidRunError, ModelError, SettingError
from robustbench_fgsm.models.classifier import PixelSpaceNetwork, TorchClassifier, build_classifier, has_convolutions, move_images
from robustbench_fgsm.models.copy_module import copy_module, make_trainable
from robustbench_fgsm.spec import check_epsilon
from robustbench_fgsm.training.adversarial_batch import craft_training_images
from robustbench_fgsm.training.augmentation import Augment, parse_augmentation
from robustbench_fgsm.training.checkpoint import TrainingState, TrainingStateStore
from robustbench_fgsm.training.distributed import (
    MIN_IMAGES_PER_PROCESS,
    TrainingObjective,
    average_batch_norm_statistics,
    backward,
    check_processes,
    compute_loss,
    count_images,
    process_loss_weight,
    process_seed,
    synchronise_batch_norm,
    wrap_distributed,
)
from robustbench_fgsm.training.optimizer import build_optimizer
from robustbench_fgsm.training.recipe import CHECKS_PER_EPOCH, TrainingRecipe
from robustbench_fgsm.training.result import Training
from robustbench_fgsm.training.samples import TrainingSamples, split_held_out
from robustbench_fgsm.training.watch import (
    HeldOutEvaluator,
    ValidationCheck,
    find_catastrophic_overfitting,
    make_held_out_evaluator,
)

StepCallback = Callable[[int, int], None]
CheckCallback = Callable[[ValidationCheck], None]


@dataclass(frozen=True)
class TrainingSetup:
    """Constants of a training. `initial_network` is a copy of the network before the training, for `static`."""

    recipe: TrainingRecipe
    samples: TrainingSamples
    classifier: TorchClassifier
    initial_network: nn.Module | None
    augment: Augment | None
    memory_format: torch.memory_format
    evaluate_held_out: HeldOutEvaluator | None
    max_bad: int
    held_out_bad: frozenset[BadSample] = frozenset()
    """Held-out images that are unreadable."""
    world: World = SINGLE_PROCESS

    @property
    def total_steps(self) -> int:
        """Return the number of optimizer steps of the whole training."""
        return self.samples.steps_per_epoch * self.recipe.epochs


def fit(
    classifier: TorchClassifier,
    data: Dataset,
    recipe: TrainingRecipe,
    *,
    store: TrainingStateStore | None = None,
    max_bad: int = 0,
    progress: StepCallback | None = None,
    report: CheckCallback | None = None,
    world: World = SINGLE_PROCESS,
) -> Training:
    """Train a copy of the classifier by the recipe. The global random generators are restored afterwards.

    Args:
        classifier: PyTorch classifier before the training.
        data: images and labels, with random access.
        recipe: settings of the training.
        store: storage from which a training continues, and which gets the state after each check; used by rank 0 only.
        max_bad: number of unreadable samples that are allowed.
        progress: called with the steps done and the total number of steps.
        report: called with each check.
        world: processes that share each batch. All get the same weights.

    Raises:
        ModelError: if the classifier cannot be trained.
        SettingError: if the recipe does not fit classifier, data or processes.
        DataError: if the data do not fit.
        InvalidRunError: if the loss is not finite, or more than `max_bad` samples are unreadable.
    """
    began, data = time.perf_counter(), match_to_classifier(data, classifier)
    check_trainable(classifier, data, recipe, world)
    setup = prepare_training(classifier, data, recipe, max_bad, world)
    network = classifier.copy_network(memory_format=setup.memory_format)
    trained = synchronise_batch_norm(make_trainable(copy_module(network)), world, classifier.device)
    state = TrainingState(trained, *build_optimizer(trained, recipe, setup.total_steps), bad=set(setup.held_out_bad))
    state.run = "" if store is None else store.run
    with seeded_generators(process_seed(recipe, world), classifier.device):
        kept = world.broadcast(store.load() if store is not None and world.is_main else None)
        if kept is not None:
            state.restore(kept, world)
        run_training_steps(setup, state, store, progress, report)
    network.load_state_dict(state.best_weights or trained.state_dict())
    return Training(
        build_trained_classifier(classifier, network, data),
        recipe,
        len(setup.samples.indices) - len(state.bad - setup.held_out_bad),
        tuple(state.checks),
        state.best_check,
        find_catastrophic_overfitting(state.checks, classifier.num_classes) if recipe.is_online_adversarial else None,
        state.stopped,
        tuple(setup.samples.warnings()) if world.is_main else (),
        data=describe_data(data),
        environment=describe_environment(classifier.device),
        seconds=time.perf_counter() - began,
        bad=tuple(sorted(state.bad, key=lambda found: found.path)),
        max_bad=max_bad,
    )


def check_trainable(classifier: TorchClassifier, data: Dataset, recipe: TrainingRecipe, world: World = SINGLE_PROCESS) -> None:
    """Raise the errors that `fit` raises before its first step."""
    if not isinstance(classifier, TorchClassifier) or not isinstance(classifier.network, PixelSpaceNetwork):
        raise ModelError(f"only a PyTorch network can be trained, got {type(classifier).__name__}: name an architecture")
    if not classifier.has_variants or not any(True for _ in classifier.network.parameters()):
        raise ModelError(f"a network can be trained where its layers are known, got {classifier.info.spec}, a program")
    if recipe.method == "static" and classifier.info.weights == "none":
        raise SettingError("static joins images that fool a trained network, got weights none: pass --weights standard")
    require_multi_class(classifier, "train")
    check_processes(world, recipe, classifier.device)
    check_epsilon(recipe.epsilon, float("inf"), classifier.bounds)
    check_classes(classifier, data)
    first = first_readable_batch(data, 2)
    check_images(first, classifier)
    require_cross_entropy(classifier, first, "train")
    height, width = first.images.shape[-2:]
    parse_augmentation(recipe.augment, (height, width))
    split_held_out(data, recipe)


def prepare_training(
    classifier: TorchClassifier, data: Dataset, recipe: TrainingRecipe, max_bad: int, world: World = SINGLE_PROCESS
) -> TrainingSetup:
    """Return the constants of the training."""
    samples = split_held_out(data, recipe)
    height, width = first_readable_batch(data, 2).images.shape[-2:]
    held_out = samples.held_out_batch()
    if held_out is not None:
        check_images(held_out, classifier)
    return TrainingSetup(
        recipe,
        samples,
        classifier,
        copy_module(classifier.network) if recipe.method == "static" else None,
        parse_augmentation(recipe.augment, (height, width)),
        torch.channels_last if has_convolutions(classifier.network) else torch.contiguous_format,
        None if held_out is None else make_held_out_evaluator(held_out, recipe.epsilon, recipe.seed),
        max_bad,
        frozenset(() if held_out is None else held_out.bad),
        world,
    )


def run_training_steps(
    setup: TrainingSetup,
    state: TrainingState,
    store: TrainingStateStore | None,
    progress: StepCallback | None,
    report: CheckCallback | None,
) -> None:
    """Run the remaining steps, with a check after each quarter of an epoch."""
    steps, recipe, world = setup.samples.steps_per_epoch, setup.recipe, setup.world
    objective: nn.Module = TrainingObjective(state.network, recipe)
    if world.size > 1:
        one = first_readable_batch(setup.samples.data, 1)
        x = move_images(one.images.repeat(MIN_IMAGES_PER_PROCESS, 1, 1, 1), setup.classifier.device, setup.memory_format)
        objective = wrap_distributed(objective, world, x, one.labels.repeat(MIN_IMAGES_PER_PROCESS).to(x.device))
    bad, known = state.bad, 0
    marks = {-(-steps * quarter // CHECKS_PER_EPOCH): quarter for quarter in range(1, CHECKS_PER_EPOCH + 1)}
    while state.steps_done < setup.total_steps and not state.stopped:
        epoch, first = divmod(state.steps_done, steps)
        for batch, second_pass in setup.samples.epoch_batches(epoch, first, bad, world):
            check_images(batch, setup.classifier)
            counts = count_images(len(batch), bad, known, world)
            known = len(bad)
            if known > setup.max_bad:
                worst = min(bad, key=lambda found: found.path)
                raise InvalidRunError(
                    f"images must be readable, got {len(bad):,} that are not, such as {worst.path} ({worst.reason}): "
                    "pass --max-bad N to go on without them"
                )
            train_step(setup, state, objective, batch, second_pass, process_loss_weight(counts, world))
            if progress is not None:
                progress(state.steps_done, setup.total_steps)
            quarter = marks.get(state.steps_done - epoch * steps)
            if quarter is None or (setup.evaluate_held_out is None and quarter < CHECKS_PER_EPOCH):
                continue
            state.checks.append(run_validation_check(setup, state, epoch + 1, quarter))
            update_best(state, recipe, setup.classifier.num_classes)
            if store is not None:
                content = state.to_bytes(world)
                if world.is_main:
                    store.save(content, [found.to_dict() for found in state.checks])
            if report is not None:
                report(state.checks[-1])
            if state.stopped:
                break


def train_step(
    setup: TrainingSetup, state: TrainingState, objective: nn.Module, batch: Batch, second_pass: Tensor, loss_weight: float
) -> None:
    """Run one optimizer step on this process's part of a batch, with its mean loss multiplied by `loss_weight`."""
    recipe, network = setup.recipe, state.network
    device = setup.classifier.device
    x, y = batch.images, batch.labels.to(device)
    if setup.initial_network is not None and bool(second_pass.any()):
        fooling = fgsm(
            setup.initial_network,
            x[second_pass].to(device),
            y[second_pass.to(device)],
            recipe.epsilon,
            bounds=setup.classifier.bounds,
        )
        x = x.index_copy(0, second_pass.nonzero().squeeze(1), fooling.cpu())
    if setup.augment is not None:
        x = setup.augment(x)
    x = move_images(x, device, setup.memory_format)
    network.train()
    crafted = craft_training_images(network, x, y, recipe, setup.classifier.bounds) if recipe.is_online_adversarial else x
    loss = compute_loss(objective, x, crafted, y) * loss_weight
    state.optimizer.zero_grad(set_to_none=True)
    backward(loss, setup.world)
    state.optimizer.step()
    average_batch_norm_statistics(network, setup.world)
    state.schedule.step()
    state.losses.append(loss.detach())
    state.steps_done += 1


def run_validation_check(setup: TrainingSetup, state: TrainingState, epoch: int, quarter: int) -> ValidationCheck:
    """Return a check of the current network. Raises InvalidRunError if the loss is not finite."""
    world = setup.world
    losses = world.gather(float(torch.stack(state.losses).float().mean()) if state.losses else 0.0)
    loss = sum(losses) / world.size
    if not torch.tensor(loss).isfinite():
        raise InvalidRunError(
            f"loss must stay finite, got {loss} in epoch {epoch}: lower the learning rate ({setup.recipe.learning_rate:g})"
        )
    state.losses.clear()
    rate = float(state.schedule.get_last_lr()[0])
    rates = {}
    if setup.evaluate_held_out is not None and world.is_main:
        copied = copy_module(state.network)
        rates = dict(setup.evaluate_held_out(setup.classifier.with_network(copied, setup.memory_format)))
    return world.broadcast(ValidationCheck(epoch, quarter, state.steps_done, loss, rate, **rates))


def update_best(state: TrainingState, recipe: TrainingRecipe, num_classes: int) -> None:
    """Keep the weights if they are the best so far, and set `stopped` if the training must stop early."""
    index = len(state.checks) - 1
    if recipe.keeps_best and index == best_check_index(state.checks, "pgd"):
        state.keep_best_weights(index)
    if not recipe.early_stop or state.checks[-1].quarter < CHECKS_PER_EPOCH:
        return
    best = state.checks[best_check_index(state.checks, "pgd" if recipe.is_online_adversarial else "clean")]
    overdue = state.checks[-1].epoch - best.epoch >= recipe.early_stop
    state.stopped = overdue or (
        recipe.is_online_adversarial and find_catastrophic_overfitting(state.checks, num_classes) is not None
    )


def best_check_index(checks: list[ValidationCheck], rate_name: str) -> int:
    """Return the index of the first check with the highest rate of this name."""
    counts = [rate.count if (rate := check.rates[rate_name]) is not None else -1 for check in checks]
    return counts.index(max(counts))


def build_trained_classifier(original: TorchClassifier, network: nn.Module, data: Dataset) -> TorchClassifier:
    """Return a classifier that owns the trained network."""
    assert isinstance(network, PixelSpaceNetwork)  # noqa: S101  (`check_trainable` checks it)
    plain = network.to(memory_format=torch.contiguous_format)
    return build_classifier(
        plain,
        original.num_classes,
        replace(original.info, weights="trained"),
        bounds=original.bounds,
        classes=original.classes or data.classes,
    )


@contextmanager
def seeded_generators(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's global generators for a block, and restore them afterwards."""
    devices: list[Any] = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
