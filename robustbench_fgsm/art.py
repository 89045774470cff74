"""Drop-in replacement of the fast gradient method of the Adversarial Robustness Toolbox (ART), and converters.

    from robustbench_fgsm.art import FastGradientMethod  # in place of art.attacks.evasion

Parameters, defaults and results are those of ART. L-infinity on a PyTorchClassifier gives the same bits. Intended differences:

==================================  ================================  ================================================
what                                ART 1.20                          here
==================================  ================================  ================================================
several random starts               best for all images at once; the  best start of each image: fooled first, then the
                                    clean images if none succeeds     larger margin of the wrong classes
random numbers                      NumPy's global generator          seed, index of the image and number of the start
random start, array of `eps`        raises on images                  any `eps` that suits the norm
random start, norm                  1, 2 or inf                       any p >= 1, evenly in its ball
random start, float mask            scales the start                  0 keeps a pixel, other values free it
`minimal`, grid                     sums: for 0.1 to 0.3 the last     k * eps_step <= eps from k = 0: an image that is
                                    is missed, and 0 is not tried     fooled already stays
`minimal`, `eps` by image           a batch ends at its smallest      each image has its own
`minimal`, integer images           cut to integers                   float32
`eps` of shape (N,)                 one for each column               one for each image; warns if images are N wide
`eps` within an image, finite norm  NotImplementedError               SettingError
`eps_step` with a zero              refused                           accepted if `eps` is 0 or `minimal` is False
`eps` not finite                    accepted                          SettingError
float64 array of `eps`              last bit may differ from scalar   the scalar's bits
mask of shape (1, C, H, W)          raises from the second batch on   right in every batch
mask, regressors and detectors      ignored                           applied
object arrays                       random starts fail                SettingError with these and with `minimal`
gradient not finite                 NaN made 0, the rest moves        the image stays, a RuntimeWarning gives the count
gradients whose powers underflow    no step for finite norms          a full step
`clip_values`                       exceeded by a last bit at times   kept by each image that lies within
equal largest outputs, no `y`       several labels at once            the first of them
single output                       label 1 for all, or an error      by BCEWithLogitsLoss or BCELoss, else ModelError
SVC, scikit-learn 1.9               `predict` raises                  works
labels                              too large: IndexError; negative:  DataError, also if they are too few
                                    counted from the end
norm as a string                    "inf" only                        "2" too
PyTorch network                     left in eval mode, its gradients  flags, buffers, gradients and PyTorch's random
                                    overwritten                       state are unchanged
log                                 a success rate never counted      none
==================================  ================================  ================================================

With `art_quirks=True`, ART's own class makes the attack, with its bits, side effects and random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.arguments import check_mask
from robustbench_fgsm.attack.clip import clip
from robustbench_fgsm.attack.constraints import BoundedStep, Constraint, broadcast_budgets
from robustbench_fgsm.attack.fgsm import StepSettings
from robustbench_fgsm.attack.random_start import random_start
from robustbench_fgsm.attack.restarts import Restart, evaluate_restart, is_fooled, merge_restarts
from robustbench_fgsm.errors import DataError, SettingError, warn_user
from robustbench_fgsm.models.art import from_art, import_art, is_plain_torch_estimator, to_art
from robustbench_fgsm.models.art_engine import (
    Array,
    ArtEngine,
    EstimatorGradient,
    EstimatorLabels,
    NumpyArtEngine,
    TorchArtEngine,
    one_hot_predictions,
    patch_svc_probability,
    predict_with_estimator,
    preserve_estimator,
)
from robustbench_fgsm.spec import parse_norm

import_art(private_home=False)  # importers of this module use ART themselves

from art.attacks.attack import EvasionAttack  # noqa: E402
from art.attacks.evasion import FastGradientMethod as ArtFastGradientMethod  # noqa: E402
from art.config import ART_NUMPY_DTYPE  # noqa: E402
from art.estimators.classification.classifier import ClassifierMixin  # noqa: E402
from art.utils import check_and_transform_label_format  # noqa: E402

__all__ = ["FastGradientMethod", "from_art", "to_art"]


@dataclass(frozen=True)
class _ArtBatch:
    """One batch: its index, the indices of its images, the constraint with the images, and their labels or targets."""

    index: int
    ids: Tensor
    constraint: Constraint
    y: EstimatorLabels | None


class FastGradientMethod(ArtFastGradientMethod):  # type: ignore[misc]
    """ART's `FastGradientMethod` with this package's attack; the table of the module lists the differences.

    It is a subclass of ART's class, so that ART's checks of types accept it.

    Args:
        estimator: ART estimator with loss gradients.
        norm: "inf", `np.inf` or a real p >= 1, as a number or a string.
        eps: budget: a number, an array that broadcasts to the images, or one budget for each image (N,).
        eps_step: step of the grid of `minimal`, in the forms of `eps`.
        targeted: if True, `y` is the target.
        num_random_init: number of random starts; 0 starts at the images.
        batch_size: images in a batch.
        minimal: if True, use for each image the smallest budget of the grid that fools it, or the largest if none does.
        summary_writer: ART's summary writer, or False.
        art_quirks: if True, ART's own class makes the attack.
        seed: seed of the random starts, >= 0.

    Raises:
        SettingError: if a setting is outside its domain.
    """

    attack_params = [*ArtFastGradientMethod.attack_params, "art_quirks", "seed"]  # noqa: RUF012

    def __init__(
        self,
        estimator: Any,
        norm: float | str = np.inf,
        eps: float | Array = 0.3,
        eps_step: float | Array = 0.1,
        targeted: bool = False,
        num_random_init: int = 0,
        batch_size: int = 32,
        minimal: bool = False,
        summary_writer: Any = False,
        *,
        art_quirks: bool = False,
        seed: int = 0,
    ) -> None:
        EvasionAttack.__init__(self, estimator=estimator, summary_writer=summary_writer)  # ART's class refuses a zero `eps_step`
        self.norm = norm
        self.eps = eps
        self.eps_step = eps_step
        self._targeted = targeted
        self.num_random_init = num_random_init
        self.batch_size = batch_size
        self.minimal = minimal
        self.art_quirks = art_quirks
        self.seed = seed
        self._check_params()

    def generate(self, x: Array, y: EstimatorLabels | None = None, *, mask: Array | None = None, **_: Any) -> Array:
        """Return adversarial images as a new array in the shape of x.

        Args:
            x: images (N, ...) in the layout of the estimator, or an object array of N arrays of any shapes.
            y: labels (N,), rows (N, K), or targets; None stands for the estimator's own predictions.
            mask: bool or float array that broadcasts to x. Pixels with mask 0 do not move.
            **_: ignored, as ART does: callers pass `x_init` and others to every attack.

        Returns:
            Array of dtype float32 (object for object arrays).

        Raises:
            SettingError: if settings and images do not fit together.
            DataError: if labels do not fit the images or the classes.
        """
        if self.art_quirks:
            own: Array = self._art_attack(self.eps_step, self.summary_writer or False).generate(x, y, mask=mask)
            return own
        if self.minimal and not self._is_classifier:
            raise SettingError("minimal must be False for other than classifiers, which nothing fools, got True")
        images = np.asarray(x)
        labels = self._check_labels(y, len(images))
        if images.dtype == object and images.ndim == 1:
            x_adv, nonfinite = self._generate_ragged(images, labels, mask)
        else:
            x_adv, nonfinite = self._generate(torch.from_numpy(images.astype(ART_NUMPY_DTYPE)), labels, mask)
        if nonfinite:
            message = f"{nonfinite} of {len(images)} images met a gradient that is not finite, which moved nothing"
            warn_user(message)
        if self.summary_writer is not None:
            self.summary_writer.reset()
        return x_adv

    def _check_params(self) -> None:
        """Run ART's checks (a zero in `eps_step` is allowed) and the checks of this class."""
        EvasionAttack._check_params(self)
        eps_step = self.eps_step
        if isinstance(eps_step, np.ndarray) and not self.art_quirks:
            eps_step = np.where(eps_step == 0, 1, eps_step)
        self._art_attack(eps_step)
        if not isinstance(self.art_quirks, bool):
            raise SettingError(f"art_quirks must be True or False, got {self.art_quirks!r}")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise SettingError(f"seed must be an integer >= 0, got {self.seed!r}")
        if self.minimal and bool(np.any((np.asarray(self.eps_step) == 0) & (np.asarray(self.eps) > 0))):
            raise SettingError("eps_step must be positive wherever eps is, got 0: minimal would never reach eps")

    def _art_attack(self, eps_step: float | Array, summary_writer: Any = False) -> Any:
        return ArtFastGradientMethod(
            self.estimator,
            self.norm,
            self.eps,
            eps_step,
            self.targeted,
            self.num_random_init,
            self.batch_size,
            self.minimal,
            summary_writer,
        )

    @property
    def _is_classifier(self) -> bool:
        return isinstance(self.estimator, ClassifierMixin)

    def _check_labels(self, y: EstimatorLabels | None, n: int) -> EstimatorLabels | None:
        """Return a classifier's labels as rows (n, K), normalised if K > 2. Labels of other estimators are returned unchanged."""
        if y is None:
            if self.targeted:
                raise SettingError("a targeted attack needs its targets in y, got None")
            return None
        if len(y) != n:
            raise DataError(f"y must have one entry an image, got {len(y)} for {n} images")
        if not self._is_classifier:
            return y
        nb_classes, labels = self.estimator.nb_classes, np.asarray(y)
        indices = labels.ndim == 1 or labels.shape[1:] == (1,)
        if n and indices and not (labels.min() >= 0 and labels.max() < nb_classes):
            raise DataError(f"labels must lie in [0, {nb_classes}), got {labels.min()} to {labels.max()}")
        rows = check_and_transform_label_format(labels, nb_classes=nb_classes)
        if rows.shape[1] != nb_classes:
            raise DataError(f"label rows must have {nb_classes} columns, one a class, got {rows.shape[1]}")
        return (rows / rows.sum(axis=1, keepdims=True) if nb_classes > 2 else rows).astype(np.float32)

    def _pixel_bounds(self) -> tuple[Tensor, Tensor] | None:
        if self.estimator.clip_values is None:
            return None
        low, high = (torch.from_numpy(np.array(limit)) for limit in self.estimator.clip_values)
        return low, high

    def _generate(self, images: Tensor, y: EstimatorLabels | None, mask: Array | None) -> tuple[Array, int]:
        """Return adversarial images, and the number of images with a gradient that is not finite."""
        engine: ArtEngine = (
            TorchArtEngine(self.estimator) if is_plain_torch_estimator(self.estimator) else NumpyArtEngine(self.estimator)
        )
        craft = (
            self._smallest_step
            if self.minimal
            else self._step_from_random_starts
            if self.num_random_init
            else self._step_from_images
        )
        x_adv, nonfinite = torch.empty_like(images), 0
        for batch in self._batches(images, y, mask, engine.device):
            crafted, stayed = craft(engine, batch)
            x_adv[batch.ids] = crafted.cpu()
            nonfinite += int(stayed.sum())
        return x_adv.numpy(), nonfinite

    def _batches(self, images: Tensor, y: EstimatorLabels | None, mask: Array | None, device: torch.device) -> Iterator[_ArtBatch]:
        """Yield the batches on the device, after the checks that need all images."""
        norm = parse_norm(self.norm)
        mask_tensor = None if mask is None else torch.from_numpy(np.array(mask))
        check_mask(mask_tensor, images)
        eps = broadcast_budgets(self.eps, images, norm)
        eps_step = broadcast_budgets(self.eps_step, images, norm) if self.minimal else eps
        if y is None and not self._is_classifier and len(images):
            y = predict_with_estimator(self.estimator, images.numpy().copy(), self.batch_size)
        constraint = Constraint(images, eps, eps_step, norm, mask_tensor, self._pixel_bounds())
        for index, begin in enumerate(range(0, len(images), self.batch_size)):
            rows = slice(begin, begin + self.batch_size)
            ids = torch.arange(len(images))[rows]
            yield _ArtBatch(index, ids, constraint.at(rows).to(device), None if y is None else y[rows])

    def _bounded_step(
        self, engine: ArtEngine, batch: _ArtBatch, start: Tensor | None = None
    ) -> tuple[BoundedStep, EstimatorGradient]:
        """Return the step by the gradient at the images, or at `start`."""
        x = batch.constraint.x if start is None else start
        estimator_gradient = engine.compute_gradient(x, batch.y)
        gradient = -estimator_gradient.gradient if self.targeted else estimator_gradient.gradient
        if self.summary_writer is not None:
            self._update_summary(batch.index, gradient.cpu().numpy(), x.cpu().numpy(), estimator_gradient.y)
        return batch.constraint.bounded_step(gradient), estimator_gradient

    def _step_from_images(self, engine: ArtEngine, batch: _ArtBatch) -> tuple[Tensor, Tensor]:
        """Return one step from the images, and a mask (n,) of gradients that are not finite."""
        bounded_step, _ = self._bounded_step(engine, batch)
        return batch.constraint.perturb(bounded_step, batch.constraint.epsilon), bounded_step.nonfinite_gradient

    def _step_from_random_starts(self, engine: ArtEngine, batch: _ArtBatch) -> tuple[Tensor, Tensor]:
        """Return each image's best step over the random starts. Other estimators than classifiers use the first start only."""
        constraint = batch.constraint
        if batch.y is None:
            batch = replace(batch, y=one_hot_predictions(engine.predict(constraint.x), self.estimator.nb_classes))
        best: Restart | None = None
        settings = StepSettings(constraint.norm, self.targeted, loss="margin")
        nonfinite = torch.zeros(len(constraint.x), dtype=torch.bool, device=constraint.x.device)
        for restart in range(1, self.num_random_init + 1):
            start = self._draw_start(batch, restart)
            bounded_step, _ = self._bounded_step(engine, batch, start)
            moved, nonfinite = (
                constraint.perturb(bounded_step, constraint.epsilon, start),
                nonfinite | bounded_step.nonfinite_gradient,
            )
            if self.num_random_init == 1 or not self._is_classifier:
                return moved, nonfinite
            tried = evaluate_restart(engine.predict, moved, class_indices(batch.y, moved), settings)
            best = tried if best is None else merge_restarts(best, tried)
        return (constraint.x if best is None else best.x_adv), nonfinite

    def _draw_start(self, batch: _ArtBatch, restart: int) -> Tensor:
        constraint, seed = batch.constraint, self.seed
        drawn = random_start(
            constraint.x,
            batch.ids,
            constraint.epsilon,
            norm=constraint.norm,
            bounds=None,
            mask=constraint.mask,
            seed=seed,
            restart=restart,
        )
        return clip(drawn, constraint.bounds)

    def _smallest_step(self, engine: ArtEngine, batch: _ArtBatch) -> tuple[Tensor, Tensor]:
        """Return each image at the first budget of the grid that fools it, or at the last budget if none does."""
        bounded_step, estimator_gradient = self._bounded_step(engine, batch)
        constraint, labels_or_targets = batch.constraint, class_indices(estimator_gradient.y, batch.constraint.x)
        outputs = engine.predict(constraint.x) if estimator_gradient.outputs is None else estimator_gradient.outputs
        last, x_adv = constraint.last_grid_index(), constraint.x.clone()
        left = (
            (~is_fooled(outputs, labels_or_targets, targeted=self.targeted) & ~bounded_step.nonfinite_gradient).nonzero().squeeze(1)
        )
        for k in range(1, int(last.max()) + 1):
            left = left[last[left] >= k]
            if len(left) == 0:
                break
            part = constraint.at(left)
            x_adv[left] = part.perturb(bounded_step.at(left), part.grid_epsilon(k))
            left = left[~is_fooled(engine.predict(x_adv[left]), labels_or_targets[left], targeted=self.targeted)]
        return x_adv, bounded_step.nonfinite_gradient

    def _generate_ragged(self, x: Array, y: EstimatorLabels | None, mask: Array | None) -> tuple[Array, int]:
        """Return what `_generate` returns, for an object array of arrays. `eps` and `mask` have one entry for each array."""
        if self.minimal or self.num_random_init:
            raise SettingError("object arrays must be attacked without minimal and random starts: pad them to one shape")
        estimator, norm, limits = patch_svc_probability(self.estimator), parse_norm(self.norm), self._pixel_bounds()
        if y is None:
            y = predict_with_estimator(estimator, x, self.batch_size)
            y = one_hot_predictions(torch.from_numpy(np.asarray(y)), estimator.nb_classes) if self._is_classifier else y
        mask_tensor = None if mask is None else torch.from_numpy(np.array(mask))
        check_mask(mask_tensor, torch.empty(len(x)))
        mask_tensor = None if mask_tensor is None else mask_tensor.expand(len(x))
        eps = torch.from_numpy(np.broadcast_to(np.asarray(self.eps, dtype=np.float64), x.shape).copy())
        x_adv, nonfinite = np.empty_like(x), 0
        for index, begin in enumerate(range(0, len(x), self.batch_size)):
            rows = slice(begin, begin + self.batch_size)
            with preserve_estimator(estimator):
                gradients = estimator.loss_gradient(x[rows], y[rows]) * (1 - 2 * self.targeted)
            if self.summary_writer is not None:
                self._update_summary(index, gradients, x[rows], y[rows])
            for i, gradient in enumerate(gradients, start=begin):
                one = torch.from_numpy(np.array(x[i], dtype=np.result_type(x[i], np.float32))).unsqueeze(0)
                constraint = Constraint(one, eps[i], eps[i], norm, None if mask_tensor is None else mask_tensor[i], limits)
                gradient_tensor = torch.from_numpy(np.array(gradient, dtype=np.float64)).unsqueeze(0)
                bounded_step = constraint.bounded_step(gradient_tensor)
                x_adv[i] = constraint.perturb(bounded_step, eps[i]).squeeze(0).numpy()
                nonfinite += int(bounded_step.nonfinite_gradient)
        return x_adv, nonfinite

    def _update_summary(self, batch_index: int, gradient: Array, x: Array, y: EstimatorLabels) -> None:
        """Pass ART's summary writer the values that ART passes."""
        with preserve_estimator(self.estimator):
            self.summary_writer.update(
                batch_id=batch_index,
                global_step=0,
                grad=gradient,
                patch=None,
                estimator=self.estimator,
                x=x,
                y=y,
                targeted=self.targeted,
            )


def class_indices(rows: EstimatorLabels, x: Tensor) -> Tensor:
    """Return the classes (n,) of label rows (n, K), on the device of the images."""
    return torch.from_numpy(rows.argmax(axis=1)).to(x.device)
