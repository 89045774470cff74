"""Find the normalisation of a checkpoint that does not state it, by the images that the network then predicts correctly."""

from __future__ import annotations

from dataclasses import replace

from robustbench_fgsm.attack.normalisation import KNOWN_NORMALISATIONS, Normalisation, format_numbers
from robustbench_fgsm.cli.options import ModelOptions
from robustbench_fgsm.data.dataset import Dataset, readable_batches
from robustbench_fgsm.data.match_model import match_to_classifier
from robustbench_fgsm.data.subset import sample_images
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.models.load import load_classifier

TRIED_IMAGES = 100
CHANCE_FACTOR = 1.5
"""Multiple of the share of the largest class that the best normalisation must reach."""

UNCHANGED = Normalisation("no normalisation: ", (0.0,), (1.0,))


def find_normalisation(options: ModelOptions, images: Dataset) -> tuple[Classifier, str]:
    """Return the classifier under the usual statistics with which most of 100 images are right, and words that say so.

    Raises ModelError if none is better than chance.
    """
    some = sample_images(images, TRIED_IMAGES)
    found = [(candidate, *_load_and_count(options, candidate, some)) for candidate in (UNCHANGED, *KNOWN_NORMALISATIONS)]
    (best, classifier, right), (second, _, next_right) = sorted(found, key=lambda one: -one[2])[:2]
    n, words = len(some), f"--mean {format_numbers(best.mean)} --std {format_numbers(best.std)}"
    if right <= CHANCE_FACTOR * n / len(images.classes):
        raise ModelError(
            f"weights {options.weights} need the normalisation they were trained with, got none, and no usual one fits the images: "
            "pass --mean and --std, one value or one a channel, or --mean 0 --std 1 where the network does its own"
        )
    return classifier, (
        f"Warning: --mean and --std were not given: took {best.name}{words}, with which {right} of {n} images are right "
        f"({next_right} with {second.name or 'another: '}{format_numbers(second.mean)}). Pass them to be sure"
    )


def _load_and_count(options: ModelOptions, candidate: Normalisation, images: Dataset) -> tuple[Classifier, int]:
    """Return the classifier with these statistics, and how many images it predicts correctly."""
    options = replace(options, mean=format_numbers(candidate.mean), std=format_numbers(candidate.std))
    classifier = load_classifier(options.model, data=images.name, **options.load_arguments())
    matched = match_to_classifier(images, classifier)
    batches = readable_batches(matched, 0, len(matched), TRIED_IMAGES, [])
    return classifier, sum(
        int((classifier.predict(batch.images.to(classifier.device)).argmax(1).cpu() == batch.labels).sum()) for batch in batches
    )
