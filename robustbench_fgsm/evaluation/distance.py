"""Measure each image's distance: the smallest budget along its one direction that fools it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.match_model import as_classifier_and_data
from robustbench_fgsm.engine.close_predictions import RecordList
from robustbench_fgsm.engine.progress_bar import ProgressSetting, as_function, with_progress_bar
from robustbench_fgsm.engine.run_pieces import RunContext
from robustbench_fgsm.errors import warn_user
from robustbench_fgsm.evaluation.checks import NO_CHECKS
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.evaluation.result import Evaluation
from robustbench_fgsm.feature_values import FeatureArray
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.options import AttackOptions, DistanceOptions, RunOptions
from robustbench_fgsm.printable_text import printable_document
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.spec import DEFAULT_MAX_EPSILON, UNTARGETED
from robustbench_fgsm.stats.distance import ImageDistances, image_distances
from robustbench_fgsm.stats.rate import Rate


@dataclass(frozen=True)
class Distances:
    """Distances of N images, by ascending id.

    Attributes:
        images: ids, labels and distances.
        evaluation: counts, quantiles, warnings and reasons why the distances must not be used.
    """

    images: ImageDistances
    evaluation: Evaluation

    @property
    def values(self) -> NDArray[np.float32]:
        """Distances (N,) in the units of the images: 0 if wrong before the attack, infinity if no tried budget fools the image."""
        return self.images.values

    def __repr__(self) -> str:
        return short_repr(
            self, n=len(self.values), median=float(np.median(self.values)), fooled=int(np.isfinite(self.values).sum())
        )

    def _repr_html_(self) -> str:
        """Return the tables of the distances as HTML for a notebook."""
        from robustbench_fgsm.report.documents.evaluation import distance_sheets, heading
        from robustbench_fgsm.report.tables.html import summary_to_html
        from robustbench_fgsm.report.tables.sheet import Section, Summary

        document = printable_document(self.evaluation.to_dict())
        return summary_to_html(Summary(heading(document), (Section(tuple(distance_sheets(document))),)))

    def to_dict(self) -> dict[str, Any]:
        """Return quantiles, and accuracy over epsilon, as a JSON object."""
        found: dict[str, Any] = self.evaluation.to_dict()["distance"]
        return found


@with_progress_bar
@neutral_settings(generators=True)
def distances(
    classifier: Classifier | nn.Module,
    data: Dataset | Any,
    max_epsilon: float | str = DEFAULT_MAX_EPSILON,
    *,
    norm: str | float = AttackOptions.norm,
    epsilon_scale: str | FeatureArray | None = AttackOptions.epsilon_scale,
    targeted: str = UNTARGETED,
    loss: str = AttackOptions.loss,
    stable: bool = AttackOptions.stable,
    seed: int = AttackOptions.seed,
    batch_size: int | str = RunOptions.batch_size,
    max_bad: int = RunOptions.max_bad,
    strict: bool = RunOptions.strict,
    progress: ProgressSetting = None,
) -> Distances:
    """Measure the smallest budget along each image's one direction that fools it, from one backward and about ten forward passes.

    A coarse grid of budgets is scanned from below. The first interval whose end fools the image is then halved six times. The
    result is the first crossing that the search finds along one direction: an upper bound on the distance to the nearest
    adversarial image. A RuntimeWarning gives each reason why the distances must not be used, and says if saturated images,
    whose float32 gradients have wrong signs, or copies of other images, are more than 1 %.

    Args:
        classifier: the model to attack: a classifier, a bare `nn.Module`, or an ART estimator.
        data: the images and their labels: a data set, or anything that `load_data` takes, such as a DataLoader or (x, y).
        max_epsilon: largest budget tried, in the units of the images, as a number or as text such as `64/255`.
        norm: order of the norm: `inf`, or any real p >= 1.
        epsilon_scale: what budgets are multiplied by in each feature, as in `evaluate`. The distances are in units of the scale.
        targeted: class at which the attack aims, as in `evaluate`.
        loss: loss that the attack increases, as in `evaluate`.
        stable: use exact cross-entropy gradients for all images.
        seed: seed of random targets, an integer >= 0.
        batch_size: images in a batch, or `auto`.
        max_bad: number of unreadable images above which the result is invalid.
        strict: raise an error if a preflight check warns.
        progress: called with images done and images in all; by default a bar in notebooks and terminals; False for none.

    Returns:
        The distances of all images that can be read, by ascending id.

    Raises:
        SettingError, ModelError, DataError: if settings, model and data do not fit each other; before the first attack.
    """
    classifier, data = as_classifier_and_data(classifier, data)
    attack = AttackOptions(max_epsilon, norm, epsilon_scale, targeted, loss, stable, seed=seed).to_spec(classifier.bounds)
    (spec,) = DistanceOptions(True, max_epsilon).apply([attack])
    store = RecordList()
    options, context = RunOptions(batch_size, "none", max_bad, strict), RunContext(store=store, progress=as_function(progress))
    (evaluation,) = run_attacks(classifier, data, [spec], options, NO_CHECKS, context=context)
    for reason in evaluation.invalid_reasons:
        warn_user(f"distances must not be used: {reason}")
    assert evaluation.distances is not None  # noqa: S101  (the attack measures distances)
    for warning in (*evaluation.repeated.warnings, *evaluation.distances.warnings):
        warn_user(warning)
    if evaluation.shows_stable:
        saturated = Rate(evaluation.tallies[0].saturated, evaluation.n)
        warn_user(f"saturation: {saturated} of the images have 1 - p_y < 1e-6, and distances that are too large: pass stable=True")
    found = image_distances([record.outcomes[0] for record in store.kept if len(record)], spec.epsilons[0])
    return Distances(found, evaluation)
