"""Find the normalisation of a checkpoint that does not state it, by the images that the network then predicts correctly."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from robustbench_fgsm.attack.normalisation import KNOWN_NORMALISATIONS, Normalisation, format_numbers
from robustbench_fgsm.cli.options import ModelOptions
from robustbench_fgsm.data.dataset import Dataset, readable_batches
from robustbench_fgsm.data.match_model import match_to_classifier
from robustbench_fgsm.data.subset import sample_images
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.models.load import load_classifier
from robustbench_fgsm.spec import Bounds

TRIED_IMAGES = 100
CHANCE_FACTOR = 1.5
"""Multiple of what chance gives that the best normalisation must exceed; it must also exceed the share of the largest class."""

UNCHANGED = Normalisation("no normalisation: ", (0.0,), (1.0,))


@dataclass(frozen=True)
class _Trial:
    """What 100 images show of a normalisation: how many are right, and how many the largest class has."""

    normalisation: Normalisation
    n: int
    right: int
    largest_class: int


def find_normalisation(options: ModelOptions, images: Dataset) -> tuple[Classifier, str]:
    """Return the classifier under the usual statistics with which most of 100 images are right, and words that say so.

    If several have as many right, the most usual one counts. Raises ModelError if none is better than chance.
    """
    some = sample_images(images, TRIED_IMAGES)
    trials = [_try(options, candidate, some) for candidate in _candidates(options.expected_bounds)]
    best, *others = sorted(trials, key=lambda trial: -trial.right)
    if best.right <= max(CHANCE_FACTOR * best.n / len(images.classes), best.largest_class):
        raise ModelError(
            f"weights {options.weights} need the normalisation they were trained with, got none, and no usual one fits the images: "
            "pass --mean and --std, one value or one a channel, or --mean 0 --std 1 where the network does its own"
        )
    taken, second = best.normalisation, others[0].normalisation
    return _load(options, taken, images), (
        f"Warning: --mean and --std were not given: took {taken.name}--mean {format_numbers(taken.mean)} "
        f"--std {format_numbers(taken.std)}, with which {best.right} of {best.n} images are right "
        f"({others[0].right} with {second.name or 'another: '}{format_numbers(second.mean)}). Pass them to be sure"
    )


def _candidates(bounds: Bounds) -> list[Normalisation]:
    """Return no normalisation, and the usual ones in the units of the bounds."""
    if not (bounds.is_uniform and math.isfinite(bounds.width)):
        bounds = Bounds(0.0, 1.0)
    known = [one.in_units_of(bounds) for one in KNOWN_NORMALISATIONS]
    return [UNCHANGED, *(one for one in known if one.std != UNCHANGED.std)]


def _load(options: ModelOptions, candidate: Normalisation, images: Dataset) -> Classifier:
    options = replace(options, mean=format_numbers(candidate.mean), std=format_numbers(candidate.std))
    return load_classifier(options.model, data=images.name, **options.load_arguments())


def _try(options: ModelOptions, candidate: Normalisation, images: Dataset) -> _Trial:
    """Predict the images with these statistics; the network is not kept."""
    classifier = _load(options, candidate, images)
    matched = match_to_classifier(images, classifier)
    batches = readable_batches(matched, 0, len(matched), TRIED_IMAGES, [])
    found = [(classifier.predict(batch.images.to(classifier.device)).cpu(), batch.labels) for batch in batches]
    outputs, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    right, largest = int((outputs.argmax(1) == labels).sum()), int(labels.bincount().max())
    return _Trial(candidate, len(labels), right, largest)
