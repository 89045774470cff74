"""Train a network by a recipe, step after step."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.fgsm import fgsm
from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset, describe, probe
from robustbench_fgsm.data.match_model import fit_to
from robustbench_fgsm.engine.distributed import ALONE, World
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.preflight import check_classes, check_images
from robustbench_fgsm.errors import InvalidRunError, ModelError, SettingError
from robustbench_fgsm.models.classifier import (
    PixelSpace,
    TorchClassifier,
    classify,
    convolves,
    place,
    place_images,
)
from robustbench_fgsm.spec import check_epsilon
from robustbench_fgsm.training.adversarial_batch import craft
from robustbench_fgsm.training.augmentation import Augment, augmentation
from robustbench_fgsm.training.checkpoint import Learner, Store
from robustbench_fgsm.training.distributed import (
    LEAST,
    Objective,
    averaging,
    backward,
    check_world,
    count,
    loss_of,
    seed_of,
    share_statistics,
    synchronised,
    weight_of,
)
from robustbench_fgsm.training.optimizer import optimisation
from robustbench_fgsm.training.recipe import CHECKS, Recipe
from robustbench_fgsm.training.result import Training
from robustbench_fgsm.training.samples import Samples, split_off
from robustbench_fgsm.training.watch import Check, Watch, catastrophic, watcher

Progress = Callable[[int, int], None]
Report = Callable[[Check], None]


@dataclass(frozen=True)
class Lesson:
    """What stays the same while a network learns. first: the network as it was, for `static`; world: who shares the work."""

    recipe: Recipe
    samples: Samples
    classifier: TorchClassifier
    first: nn.Module | None
    augment: Augment | None
    memory_format: torch.memory_format
    watch: Watch | None
    max_bad: int
    held_bad: frozenset[BadSample] = frozenset()
    """Held-out images that could not be had."""
    world: World = ALONE

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self.samples.steps * self.recipe.epochs


def fit(
    classifier: TorchClassifier,
    data: Dataset,
    recipe: Recipe,
    *,
    store: Store | None = None,
    max_bad: int = 0,
    progress: Progress | None = None,
    report: Report | None = None,
    world: World = ALONE,
) -> Training:
    """The classifier trained further on the data by the recipe; a copy learns, and the global generators stay as they were.

    store: where the state is kept at every check, and taken up again. max_bad: images that may be unreadable. progress:
    called with steps done and steps in all; report: with every check. world: the processes that share every batch; all get
    the same weights, and the first one alone uses the store.

    Raises ModelError for what cannot be trained, SettingError and DataError for what does not fit, and InvalidRunError
    where the loss is no number any more, or more images than `max_bad` cannot be read.
    """
    began, data = time.perf_counter(), fit_to(data, classifier)
    check_trainable(classifier, data, recipe, world)
    lesson = prepare(classifier, data, recipe, max_bad, world)
    network = classifier.copy_network(memory_format=lesson.memory_format)
    student = synchronised(copy.deepcopy(network).requires_grad_(True), world, classifier.device)
    learner = Learner(student, *optimisation(student, recipe, lesson.steps), bad=set(lesson.held_bad))
    with own_generators(seed_of(recipe, world), classifier.device):
        kept = world.first(store.load() if store is not None and world.leads else None)
        if kept is not None:
            learner.restore(kept, world)
        learn(lesson, learner, store, progress, report)
    network.load_state_dict(learner.best or student.state_dict())
    return Training(
        trained(classifier, network, data),
        describe(data),
        recipe,
        len(lesson.samples.indices) - len(learner.bad - lesson.held_bad),
        tuple(learner.checks),
        learner.best_check,
        catastrophic(learner.checks, classifier.num_classes) if recipe.against_itself else None,
        learner.stopped,
        describe_environment(classifier.device),
        time.perf_counter() - began,
        tuple(sorted(learner.bad, key=lambda found: found.path)),
        max_bad,
    )


def check_trainable(classifier: TorchClassifier, data: Dataset, recipe: Recipe, world: World = ALONE) -> None:
    """Raise what `fit` raises before its first step."""
    if not isinstance(classifier, TorchClassifier) or not isinstance(classifier.network, PixelSpace):
        raise ModelError(
            f"only a PyTorch network can be trained, got {type(classifier).__name__}: name an architecture"
        )
    if not classifier.has_variants or not any(True for _ in classifier.network.parameters()):
        raise ModelError(f"a network can be trained where its layers are known, got {classifier.info.spec}, a program")
    if recipe.method == "static" and classifier.info.weights == "none":
        raise SettingError("static joins images that fool a trained network, got weights none: pass --weights standard")
    check_world(world, recipe, classifier.device)
    check_epsilon(recipe.epsilon, float("inf"), classifier.bounds)
    check_classes(classifier, data)
    first = probe(data, 2)
    check_images(first, classifier)
    try:
        classifier.predict(place_images(first.images, classifier))
    except RuntimeError as error:
        raise ModelError(
            f"model must accept images of shape {tuple(first.images.shape[1:])}, but it failed on them: "
            f"{str(error).splitlines()[0]}"
        ) from error
    height, width = first.images.shape[-2:]
    augmentation(recipe.augment, (height, width))
    split_off(data, recipe)


def prepare(classifier: TorchClassifier, data: Dataset, recipe: Recipe, max_bad: int, world: World = ALONE) -> Lesson:
    """What stays the same while the classifier learns."""
    samples = split_off(data, recipe)
    height, width = probe(data, 2).images.shape[-2:]
    held = samples.held_out()
    if held is not None:
        check_images(held, classifier)
    return Lesson(
        recipe,
        samples,
        classifier,
        copy.deepcopy(classifier.network) if recipe.method == "static" else None,
        augmentation(recipe.augment, (height, width)),
        torch.channels_last if convolves(classifier.network) else torch.contiguous_format,
        None if held is None else watcher(held, recipe.epsilon, recipe.seed),
        max_bad,
        frozenset(() if held is None else held.bad),
        world,
    )


def learn(
    lesson: Lesson,
    learner: Learner,
    store: Store | None,
    progress: Progress | None,
    report: Report | None,
) -> None:
    """All steps that are not done yet, with a check after every quarter of an epoch."""
    steps, recipe, world = lesson.samples.steps, lesson.recipe, lesson.world
    objective: nn.Module = Objective(learner.network, recipe)
    if world.size > 1:
        one = probe(lesson.samples.data, 1)
        x = place(one.images.repeat(LEAST, 1, 1, 1), lesson.classifier.device, lesson.memory_format)
        objective = averaging(objective, world, x, one.labels.repeat(LEAST).to(x.device))
    bad, known = learner.bad, 0
    marks = {-(-steps * quarter // CHECKS): quarter for quarter in range(1, CHECKS + 1)}
    while learner.done < lesson.steps and not learner.stopped:
        epoch, first = divmod(learner.done, steps)
        for batch, second in lesson.samples.epoch(epoch, first, bad, world):
            check_images(batch, lesson.classifier)
            counts = count(len(batch), bad, known, world)
            known = len(bad)
            if known > lesson.max_bad:
                worst = min(bad, key=lambda found: found.path)
                raise InvalidRunError(
                    f"images must be readable, got {len(bad):,} that are not, such as {worst.path} ({worst.reason}): "
                    "pass --max-bad N to go on without them"
                )
            take_step(lesson, learner, objective, batch, second, weight_of(counts, world))
            if progress is not None:
                progress(learner.done, lesson.steps)
            quarter = marks.get(learner.done - epoch * steps)
            if quarter is None or (lesson.watch is None and quarter < CHECKS):
                continue
            learner.checks.append(check(lesson, learner, epoch + 1, quarter))
            judge(learner, recipe, lesson.classifier.num_classes)
            if store is not None:
                state = learner.to_bytes(world)
                if world.leads:
                    store.save(state, [found.to_dict() for found in learner.checks])
            if report is not None:
                report(learner.checks[-1])
            if learner.stopped:
                break


def take_step(
    lesson: Lesson, learner: Learner, objective: nn.Module, batch: Batch, second: Tensor, weight: float
) -> None:
    """One step of the optimiser on one batch, or this process's share of it; weight: of its mean loss among all."""
    recipe, network = lesson.recipe, learner.network
    device = lesson.classifier.device
    x, y = batch.images, batch.labels.to(device)
    if lesson.first is not None and bool(second.any()):
        fooling = fgsm(
            lesson.first, x[second].to(device), y[second.to(device)], recipe.epsilon, bounds=lesson.classifier.bounds
        )
        x = x.index_copy(0, second.nonzero().squeeze(1), fooling.cpu())
    if lesson.augment is not None:
        x = lesson.augment(x)
    x = place(x, device, lesson.memory_format)
    network.train()
    crafted = craft(network, x, y, recipe, lesson.classifier.bounds) if recipe.against_itself else x
    loss = loss_of(objective, x, crafted, y) * weight
    learner.optimizer.zero_grad(set_to_none=True)
    backward(loss, lesson.world)
    learner.optimizer.step()
    share_statistics(network, lesson.world)
    learner.schedule.step()
    learner.losses.append(loss.detach())
    learner.done += 1


def check(lesson: Lesson, learner: Learner, epoch: int, quarter: int) -> Check:
    """Look at the network as it is now; raises InvalidRunError where the loss is not finite."""
    world = lesson.world
    told = world.gather(float(torch.stack(learner.losses).float().mean()) if learner.losses else 0.0)
    loss = sum(told) / world.size
    if not torch.tensor(loss).isfinite():
        raise InvalidRunError(
            f"loss must stay finite, got {loss} in epoch {epoch}: lower the learning rate ({lesson.recipe.learning_rate:g})"
        )
    learner.losses.clear()
    rate = float(learner.schedule.get_last_lr()[0])
    rates = {}
    if lesson.watch is not None and world.leads:
        copied = copy.deepcopy(learner.network)
        rates = dict(lesson.watch(lesson.classifier.around(copied, lesson.memory_format)))
    return world.first(Check(epoch, quarter, learner.done, loss, rate, **rates))


def judge(learner: Learner, recipe: Recipe, num_classes: int) -> None:
    """Keep the weights where they are the best so far, and say whether it is time to stop."""
    index = len(learner.checks) - 1
    if recipe.keeps_best and index == best_of(learner.checks, "pgd"):
        learner.keep(index)
    if not recipe.early_stop or learner.checks[-1].quarter < CHECKS:
        return
    best = learner.checks[best_of(learner.checks, "pgd" if recipe.against_itself else "clean")]
    overdue = learner.checks[-1].epoch - best.epoch >= recipe.early_stop
    learner.stopped = overdue or (recipe.against_itself and catastrophic(learner.checks, num_classes) is not None)


def best_of(checks: list[Check], name: str) -> int:
    """Index of the check with the highest rate of that name, the first of equals."""
    counts = [rate.count if (rate := check.rates[name]) is not None else -1 for check in checks]
    return counts.index(max(counts))


def trained(before: TorchClassifier, network: nn.Module, data: Dataset) -> TorchClassifier:
    """The classifier that owns the trained network."""
    assert isinstance(network, PixelSpace)  # noqa: S101  (as `check_trainable` made sure)
    plain = network.to(memory_format=torch.contiguous_format)
    return classify(
        plain,
        before.num_classes,
        spec=before.info.spec,
        weights="trained",
        bounds=before.bounds,
        classes=before.classes or data.classes,
        preprocessing=before.info.preprocessing,
        settings=before.info.settings,
    )


@contextmanager
def own_generators(seed: int, device: torch.device) -> Iterator[None]:
    """PyTorch's global generators seeded inside, and as they were afterwards."""
    devices: list[Any] = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
