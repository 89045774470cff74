"""Train a network by a recipe, step after step."""

from __future__ import annotations

import copy
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
from robustbench_fgsm.engine.preflight import check_classes, check_images
from robustbench_fgsm.errors import InvalidRunError, ModelError, SettingError
from robustbench_fgsm.models.classifier import (
    PixelSpaceNetwork,
    TorchClassifier,
    build_classifier,
    has_convolutions,
    move_images,
    move_to_classifier,
)
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
    """What stays the same while a network learns. first: the network as it was, for `static`; world: who shares the work."""

    recipe: TrainingRecipe
    samples: TrainingSamples
    classifier: TorchClassifier
    initial_network: nn.Module | None
    augment: Augment | None
    memory_format: torch.memory_format
    evaluate_held_out: HeldOutEvaluator | None
    max_bad: int
    held_out_bad: frozenset[BadSample] = frozenset()
    """Held-out images that could not be had."""
    world: World = SINGLE_PROCESS

    @property
    def total_steps(self) -> int:
        """Of the whole training."""
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
    """The classifier trained further on the data by the recipe; a copy learns, and the global generators stay as they were.

    store: where the state is kept at every check, and taken up again. max_bad: images that may be unreadable. progress:
    called with steps done and steps in all; report: with every check. world: the processes that share every batch; all get
    the same weights, and the first one alone uses the store.

    Raises ModelError for what cannot be trained, SettingError and DataError for what does not fit, and InvalidRunError
    where the loss is no number any more, or more images than `max_bad` cannot be read.
    """
    began, data = time.perf_counter(), match_to_classifier(data, classifier)
    check_trainable(classifier, data, recipe, world)
    lesson = prepare_training(classifier, data, recipe, max_bad, world)
    network = classifier.copy_network(memory_format=lesson.memory_format)
    student = synchronise_batch_norm(copy.deepcopy(network).requires_grad_(True), world, classifier.device)
    learner = TrainingState(student, *build_optimizer(student, recipe, lesson.total_steps), bad=set(lesson.held_out_bad))
    with seeded_generators(process_seed(recipe, world), classifier.device):
        kept = world.broadcast(store.load() if store is not None and world.is_main else None)
        if kept is not None:
            learner.restore(kept, world)
        run_training_steps(lesson, learner, store, progress, report)
    network.load_state_dict(learner.best_weights or student.state_dict())
    return Training(
        build_trained_classifier(classifier, network, data),
        describe_data(data),
        recipe,
        len(lesson.samples.indices) - len(learner.bad - lesson.held_out_bad),
        tuple(learner.checks),
        learner.best_check,
        find_catastrophic_overfitting(learner.checks, classifier.num_classes) if recipe.is_online_adversarial else None,
        learner.stopped,
        describe_environment(classifier.device),
        time.perf_counter() - began,
        tuple(sorted(learner.bad, key=lambda found: found.path)),
        max_bad,
    )


def check_trainable(classifier: TorchClassifier, data: Dataset, recipe: TrainingRecipe, world: World = SINGLE_PROCESS) -> None:
    """Raise what `fit` raises before its first step."""
    if not isinstance(classifier, TorchClassifier) or not isinstance(classifier.network, PixelSpaceNetwork):
        raise ModelError(f"only a PyTorch network can be trained, got {type(classifier).__name__}: name an architecture")
    if not classifier.has_variants or not any(True for _ in classifier.network.parameters()):
        raise ModelError(f"a network can be trained where its layers are known, got {classifier.info.spec}, a program")
    if recipe.method == "static" and classifier.info.weights == "none":
        raise SettingError("static joins images that fool a trained network, got weights none: pass --weights standard")
    check_processes(world, recipe, classifier.device)
    check_epsilon(recipe.epsilon, float("inf"), classifier.bounds)
    check_classes(classifier, data)
    first = first_readable_batch(data, 2)
    check_images(first, classifier)
    try:
        classifier.predict(move_to_classifier(first.images, classifier))
    except RuntimeError as error:
        raise ModelError(
            f"model must accept images of shape {tuple(first.images.shape[1:])}, but it failed on them: "
            f"{str(error).splitlines()[0]}"
        ) from error
    height, width = first.images.shape[-2:]
    parse_augmentation(recipe.augment, (height, width))
    split_held_out(data, recipe)


def prepare_training(
    classifier: TorchClassifier, data: Dataset, recipe: TrainingRecipe, max_bad: int, world: World = SINGLE_PROCESS
) -> TrainingSetup:
    """What stays the same while the classifier learns."""
    samples = split_held_out(data, recipe)
    height, width = first_readable_batch(data, 2).images.shape[-2:]
    held = samples.held_out_batch()
    if held is not None:
        check_images(held, classifier)
    return TrainingSetup(
        recipe,
        samples,
        classifier,
        copy.deepcopy(classifier.network) if recipe.method == "static" else None,
        parse_augmentation(recipe.augment, (height, width)),
        torch.channels_last if has_convolutions(classifier.network) else torch.contiguous_format,
        None if held is None else make_held_out_evaluator(held, recipe.epsilon, recipe.seed),
        max_bad,
        frozenset(() if held is None else held.bad),
        world,
    )


def run_training_steps(
    setup: TrainingSetup,
    training_state: TrainingState,
    store: TrainingStateStore | None,
    progress: StepCallback | None,
    report: CheckCallback | None,
) -> None:
    """All steps that are not done yet, with a check after every quarter of an epoch."""
    steps, recipe, world = setup.samples.steps_per_epoch, setup.recipe, setup.world
    objective: nn.Module = TrainingObjective(training_state.network, recipe)
    if world.size > 1:
        one = first_readable_batch(setup.samples.data, 1)
        x = move_images(one.images.repeat(MIN_IMAGES_PER_PROCESS, 1, 1, 1), setup.classifier.device, setup.memory_format)
        objective = wrap_distributed(objective, world, x, one.labels.repeat(MIN_IMAGES_PER_PROCESS).to(x.device))
    bad, known = training_state.bad, 0
    marks = {-(-steps * quarter // CHECKS_PER_EPOCH): quarter for quarter in range(1, CHECKS_PER_EPOCH + 1)}
    while training_state.steps_done < setup.total_steps and not training_state.stopped:
        epoch, first = divmod(training_state.steps_done, steps)
        for batch, second in setup.samples.epoch_batches(epoch, first, bad, world):
            check_images(batch, setup.classifier)
            counts = count_images(len(batch), bad, known, world)
            known = len(bad)
            if known > setup.max_bad:
                worst = min(bad, key=lambda found: found.path)
                raise InvalidRunError(
                    f"images must be readable, got {len(bad):,} that are not, such as {worst.path} ({worst.reason}): "
                    "pass --max-bad N to go on without them"
                )
            train_step(setup, training_state, objective, batch, second, process_loss_weight(counts, world))
            if progress is not None:
                progress(training_state.steps_done, setup.total_steps)
            quarter = marks.get(training_state.steps_done - epoch * steps)
            if quarter is None or (setup.evaluate_held_out is None and quarter < CHECKS_PER_EPOCH):
                continue
            training_state.checks.append(run_validation_check(setup, training_state, epoch + 1, quarter))
            update_best(training_state, recipe, setup.classifier.num_classes)
            if store is not None:
                state = training_state.to_bytes(world)
                if world.is_main:
                    store.save(state, [found.to_dict() for found in training_state.checks])
            if report is not None:
                report(training_state.checks[-1])
            if training_state.stopped:
                break


def train_step(
    setup: TrainingSetup, training_state: TrainingState, objective: nn.Module, batch: Batch, second_pass: Tensor, loss_weight: float
) -> None:
    """One step of the optimiser on one batch, or this process's share of it; weight: of its mean loss among all."""
    recipe, network = setup.recipe, training_state.network
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
    training_state.optimizer.zero_grad(set_to_none=True)
    backward(loss, setup.world)
    training_state.optimizer.step()
    average_batch_norm_statistics(network, setup.world)
    training_state.schedule.step()
    training_state.losses.append(loss.detach())
    training_state.steps_done += 1


def run_validation_check(setup: TrainingSetup, training_state: TrainingState, epoch: int, quarter: int) -> ValidationCheck:
    """Look at the network as it is now; raises InvalidRunError where the loss is not finite."""
    world = setup.world
    told = world.gather(float(torch.stack(training_state.losses).float().mean()) if training_state.losses else 0.0)
    loss = sum(told) / world.size
    if not torch.tensor(loss).isfinite():
        raise InvalidRunError(
            f"loss must stay finite, got {loss} in epoch {epoch}: lower the learning rate ({setup.recipe.learning_rate:g})"
        )
    training_state.losses.clear()
    rate = float(training_state.schedule.get_last_lr()[0])
    rates = {}
    if setup.evaluate_held_out is not None and world.is_main:
        copied = copy.deepcopy(training_state.network)
        rates = dict(setup.evaluate_held_out(setup.classifier.with_network(copied, setup.memory_format)))
    return world.broadcast(ValidationCheck(epoch, quarter, training_state.steps_done, loss, rate, **rates))


def update_best(training_state: TrainingState, recipe: TrainingRecipe, num_classes: int) -> None:
    """Keep the weights where they are the best so far, and say whether it is time to stop."""
    index = len(training_state.checks) - 1
    if recipe.keeps_best and index == best_check_index(training_state.checks, "pgd"):
        training_state.keep_best_weights(index)
    if not recipe.early_stop or training_state.checks[-1].quarter < CHECKS_PER_EPOCH:
        return
    best = training_state.checks[best_check_index(training_state.checks, "pgd" if recipe.is_online_adversarial else "clean")]
    overdue = training_state.checks[-1].epoch - best.epoch >= recipe.early_stop
    training_state.stopped = overdue or (
        recipe.is_online_adversarial and find_catastrophic_overfitting(training_state.checks, num_classes) is not None
    )


def best_check_index(checks: list[ValidationCheck], rate_name: str) -> int:
    """Index of the check with the highest rate of that name, the first of equals."""
    counts = [rate.count if (rate := check.rates[rate_name]) is not None else -1 for check in checks]
    return counts.index(max(counts))


def build_trained_classifier(original: TorchClassifier, network: nn.Module, data: Dataset) -> TorchClassifier:
    """The classifier that owns the trained network."""
    assert isinstance(network, PixelSpaceNetwork)  # noqa: S101  (as `check_trainable` made sure)
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
    """PyTorch's global generators seeded inside, and as they were afterwards."""
    devices: list[Any] = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
