"""What calls hint at where no known mistake explains their images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustbench_fgsm.spec import TOLERANCE
from robustbench_fgsm.variants.attack_call import Scene
from robustbench_fgsm.verification.call_recorder import Probe
from robustbench_fgsm.verification.diagnosis import Trial
from robustbench_fgsm.verification.sandbox import Observation

if TYPE_CHECKING:
    from robustbench_fgsm.verification.case_result import CaseResult

HALF = (torch.float16, torch.bfloat16)

ASIDE = 1e-4
"""An input of the network so far from the images is another one."""

CONSTANT = 1e-3
"""Steps whose sizes differ by less are of one size."""


def hints(results: Sequence[CaseResult]) -> Iterator[tuple[str, str]]:
    """Ids of mistakes and what speaks for them; an id may come more than once."""
    for result in results:
        where = f"in case {result.case.name}"
        for seen, scene in zip(result.observations, result.case.scenes, strict=False):
            yield from ((name, f"{where} {text}") for name, text in _of_shape(seen, scene))
            network = getattr(scene.model, "network", None)
            if not seen.failure and isinstance(network, Probe):
                yield from ((name, f"{where} {text}") for name, text in _of_passes(seen, network))
        yield from ((name, f"{where} {text}") for name, text in _of_repetition(result))


def _of_shape(seen: Observation, scene: Scene) -> Iterator[tuple[str, str]]:
    if isinstance(seen.returned, Tensor) and seen.returned.shape[1:] == scene.x.shape[1:]:
        got, given = len(seen.returned), len(scene.x)
        if got < given:
            yield "misaligned-images", f"{got} of {given} images come back"


def _of_passes(seen: Observation, network: Probe) -> Iterator[tuple[str, str]]:
    if not seen.passes:
        yield "other-weights", "the given network is never called"
        return
    own = network.weights()
    sums = [step.weights for step in seen.passes if step.weights is not None and step.dtype not in HALF]
    if own and any(abs(total - own) > 1e-9 * own for total in sums):
        yield "other-weights", "it is called with other weights than it was given"
    if any(step.training and step.gradient for step in seen.passes):
        yield "train-mode", "the network is called in train mode"
    if any(step.dtype in HALF for step in seen.passes):
        yield "half-precision", f"the network is called with {seen.passes[0].dtype}"
    distances = [step.distance for step in seen.passes if step.distance is not None]
    if _aside(seen) and "global-rng" in seen.side_effects:
        yield "random-start", f"the network is first called {distances[0]:.3g} away from the images"
    elif len({round(distance, 6) for distance in distances}) > 2:
        yield "iterated", f"the network is called at {len(distances)} points, up to {max(distances):.3g} away"


def _aside(seen: Observation) -> bool:
    """Whether the first forward pass is of other images than those that were handed over."""
    first = next((step.distance for step in seen.passes if step.distance is not None), 0.0)
    return first > ASIDE


def _of_repetition(result: CaseResult) -> Iterator[tuple[str, str]]:
    """The same call twice, and the same images in other batches."""
    trials = result.trials
    changed = any({"statistics-drift", "changes-model"} & seen.side_effects.keys() for seen in result.observations)
    drawn = any(_aside(seen) or "global-rng" in seen.side_effects for seen in result.observations)
    for index, one in enumerate(trials):
        for other in trials[index + 1 :]:
            apart = float((one.images - other.images).abs().max()) if _same_call(one.scene, other.scene) else 0.0
            if apart > TOLERANCE and not changed:
                name = "random-start" if drawn else "stale-gradient"
                yield name, f"the same call twice gives images {apart:.3g} apart"
    if result.case.name == "split" and len(trials) == 3:
        parts = torch.cat([trial.images for trial in trials[1:]])
        apart = float((trials[0].images - parts).abs().max())
        if apart > TOLERANCE:
            yield "batch-coupled", f"the same images in two batches come back {apart:.3g} apart"


def _same_call(one: Scene, other: Scene) -> bool:
    same = one.model is other.model and one.epsilon == other.epsilon and one.targeted == other.targeted
    return same and torch.equal(one.x, other.x) and torch.equal(one.y, other.y)


def measures(trials: Sequence[Trial]) -> Iterator[tuple[str, str]]:
    """What is wrong with all calls at once, as far as it can be read off their images."""
    sizes = [size for trial in trials if (size := _step_size(trial)) is not None]
    if len(sizes) == len(trials):
        shares = [size / trial.scene.epsilon for size, trial in zip(sizes, trials, strict=True)]
        if max(shares) - min(shares) < CONSTANT and abs(shares[0] - 1) > CONSTANT:
            yield "wrong-epsilon", f"every step is {shares[0]:.4g} times epsilon"
        elif max(sizes) - min(sizes) < CONSTANT * sizes[0]:
            yield "wrong-epsilon", f"every step is {sizes[0]:.4g}, whatever epsilon is"
    orders = [_order(trial) for trial in trials]
    moved = [order for order in orders if order and order != sorted(order)]
    if moved and all(orders):
        yield "misaligned-images", f"the images of one call come back in the order {', '.join(map(str, moved[0]))}"


def _order(trial: Trial) -> list[int]:
    """For each image that came back, which right image it is; empty where it is none, or the same as another."""
    near = (trial.images.unsqueeze(1) - trial.judgement.expected).abs() <= TOLERANCE
    right = (near | ~trial.judgement.decided).flatten(2).all(2)  # (image that came back, image that was due)
    order: list[int] = right.int().argmax(1).tolist()
    return order if bool(right.any(1).all()) and len(set(order)) == len(order) else []


def _step_size(trial: Trial) -> float | None:
    """The size of all steps of one call that no bound cut short; None where they go another way or differ."""
    scene, (low, high) = trial.scene, trial.scene.bounds
    due, moved = trial.judgement.expected - scene.x, trial.images - scene.x
    inside = (trial.images > low) & (trial.images < high) & trial.judgement.decided & (due != 0)
    steps = (moved * due.sign())[inside]
    if not len(steps) or float(steps.min()) <= 0 or float(steps.max() - steps.min()) > CONSTANT * float(steps.max()):
        return None
    return float(steps.max())
