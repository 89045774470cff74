"""One variant of FGSM: a choice at each stage of the attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from robustbench_fgsm.variants.losses import LOSSES, NamedLoss
from robustbench_fgsm.variants.stages import CLIPS, DIRECTIONS, KEPT, LABELS, MODES, OUTPUTS, SIZES, STARTS, STEPS, Choice

CHOICES: Mapping[str, Mapping[str, Choice[object] | NamedLoss]] = {
    "size": SIZES,
    "output": OUTPUTS,
    "labels": LABELS,
    "clip": CLIPS,
    "mode": MODES,
    "loss": LOSSES,
    "direction": DIRECTIONS,
    "steps": STEPS,
    "start": STARTS,
    "kept": KEPT,
}
"""The choices of each stage, by the names of the fields of a variant."""

RIGHT_NAME = "the right attack"


@dataclass(frozen=True)
class Variant:
    """FGSM with one choice at each stage, by name; the defaults are the right attack.

    Attributes:
        size: size of the step.
        output: what is returned.
        labels: labels of the loss.
        clip: how images are clipped.
        mode: mode of the network, `eval` or `train`.
        loss: the loss.
        direction: what the gradient is made into.
        steps: number and size of the steps.
        start: where the attack starts.
        kept: images whose adversarial image is returned; the others come back clean.
    """

    size: str = "epsilon"
    output: str = "float32"
    labels: str = "given"
    clip: str = "bounds"
    mode: str = "eval"
    loss: str = "ce"
    direction: str = "sign"
    steps: str = "one"
    start: str = "the image"
    kept: str = "all"

    @property
    def mistakes(self) -> tuple[str, ...]:
        """Return the ids of the mistakes, in the order of the stages."""
        causes = (CHOICES[stage][choice].cause for stage, choice in asdict(self).items())
        return tuple(cause for cause in causes if cause is not None)

    @property
    def name(self) -> str:
        """Return the mistakes, each with the choice that was made if several choices are this mistake."""
        found = []
        for stage, choice in asdict(self).items():
            cause = CHOICES[stage][choice].cause
            if cause is not None:
                several = sum(other.cause == cause for other in CHOICES[stage].values()) > 1
                found.append(f"{cause} ({choice})" if several and choice != cause else cause)
        return " + ".join(found) or RIGHT_NAME

    @property
    def gradient_key(self) -> tuple[str, str]:
        """Return the stages on which the gradient at given images depends, beside the mode."""
        return self.loss, self.labels


RIGHT_VARIANT = Variant()
