"""FGSM as an attack class in the style of ART: gradients of an estimator, NumPy in and out.

rfgsm compare --model smallcnn --candidate examples/candidates/art_style.py:FGSM --style art
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class FGSM:
    def __init__(self, estimator: Any, eps: float = 0.3, targeted: bool = False) -> None:
        self.estimator = estimator
        self.eps = eps
        self.targeted = targeted

    def generate(self, x: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return adversarial images (N, C, H, W); y holds labels, or targets."""
        one_hot = np.eye(self.estimator.nb_classes, dtype=np.float32)[y]
        gradient = self.estimator.loss_gradient(x, one_hot) * (-1 if self.targeted else 1)
        low, high = self.estimator.clip_values
        moved: NDArray[np.float32] = np.clip(x + np.float32(self.eps) * np.sign(gradient), low, high)
        return moved
