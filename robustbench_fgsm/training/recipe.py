"""How a network is trained: every setting, checked once."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.options import Option
from robustbench_fgsm.spec import DEFAULT_EPSILON, UNKNOWN_BOUNDS, parse_epsilon

TRAINING_METHODS = ("standard", "fgsm", "fgsm-rs", "n-fgsm", "static")
ONLINE_ADVERSARIAL_METHODS = ("fgsm", "fgsm-rs", "n-fgsm")
"""Methods that attack the network as it stands: those that can overfit catastrophically."""

ALLOWED_VALUES = {
    "method": TRAINING_METHODS,
    "optimizer": ("adam", "sgd"),
    "schedule": ("one-cycle", "cosine", "constant"),
    "craft_mode": ("train", "eval"),
    "precision": ("auto", "float32", "bfloat16"),
    "keep": ("auto", "best", "last"),
}
MAX_SEED = 2**63 - 1
"""Largest seed that PyTorch takes."""

CHECKS_PER_EPOCH = 4
"""Validation checks in an epoch."""


def parse_training_epsilon(text: float | str) -> float:
    """Return the one budget of a training. Raises SettingError for a list, or as `parse_epsilon` does."""
    epsilons = parse_epsilon(text, bounds=UNKNOWN_BOUNDS)
    if len(epsilons) != 1:
        raise SettingError(f"train takes one epsilon, got {len(epsilons)}: train once for each")
    return epsilons[0]


@dataclass(frozen=True)
class TrainingRecipe:
    """One training.

    method: `standard`; `fgsm`, clean and adversarial loss mixed (Goodfellow et al. 2015, arXiv:1412.6572, section 6);
    `fgsm-rs` (Wong et al. 2020, arXiv:2001.03994); `n-fgsm` (de Jorge et al. 2022, arXiv:2202.01181); `static`, joined
    with FGSM's images of the network as it was at first. epsilon: L-infinity budget of these images. craft_mode: mode of
    batch norm and dropout while images are crafted: `train`, as published, or `eval`. clamp: keep crafted images within the
    bounds of pixels. noise: half width of the noise of `n-fgsm`, in multiples of epsilon. mix: weight of the clean loss under
    `fgsm`. augment: `none`, or `crop:PIXELS`, `flip` or both with a comma between. held_out: number of images for the checks,
    which are not trained on. early_stop: epochs without a better accuracy in the checks after which the training stops; 0 for
    never. keep: the weights of the best accuracy under PGD, or the last; `auto` is the best for methods that can overfit
    catastrophically. precision: `auto` is bfloat16 on CUDA if the device has it. Raises SettingError for an invalid value.
    """

    method: Annotated[str, Option("standard, fgsm, fgsm-rs, n-fgsm or static.")] = "standard"
    epsilon: Annotated[
        float,
        Option(
            "Budget of crafted images in the units of the images: 8/255 or 0.03.",
            flag="--eps",
            short="-e",
            panel="Attack",
            default_text="8/255",
            parse=parse_training_epsilon,
        ),
    ] = DEFAULT_EPSILON
    epochs: Annotated[int, Option("Passes over the images.")] = 10
    batch_size: Annotated[int, Option("Images in a training step.", panel="Performance")] = 128
    optimizer: Annotated[str, Option("adam or sgd.")] = "adam"
    learning_rate: Annotated[float, Option("Highest learning rate of the schedule.")] = 0.002
    weight_decay: Annotated[float, Option("Weight decay of PyTorch's optimizer.")] = 0.0
    schedule: Annotated[str, Option("one-cycle, cosine or constant.")] = "one-cycle"
    augment: Annotated[str, Option("none, or crop:PIXELS, flip or both with a comma between.")] = "none"
    craft_mode: Annotated[str, Option("Mode of batch norm and dropout while crafting: train, as published, or eval.")] = "train"
    clamp: Annotated[bool, Option("Keep crafted images within pixel bounds.", flag="--clamp/--no-clamp")] = True
    noise: Annotated[float, Option("Half width of the noise of n-fgsm, in multiples of epsilon.")] = 2.0
    mix: Annotated[float, Option("Weight of the clean loss under fgsm.")] = 0.5
    held_out: Annotated[int, Option("Images that are watched and not trained on.")] = 256
    early_stop: Annotated[int, Option("Stop after N epochs without a better one; 0 for never.", metavar="N")] = 0
    keep: Annotated[str, Option("Weights that are kept: best accuracy under PGD, last, or auto.")] = "auto"
    precision: Annotated[str, Option("auto, float32 or bfloat16.")] = "auto"
    seed: Annotated[int, Option("Seed of weights, order, noise, augmentation and --sample.", panel="Attack")] = 0

    def __post_init__(self) -> None:
        for name, known in ALLOWED_VALUES.items():
            if getattr(self, name) not in known:
                got = getattr(self, name)
                label = name.replace("_", " ")
                raise SettingError(f"{label} must be one of {', '.join(known)}, got {got!r}: {did_you_mean(got, known)}")
        for name, least in (("epochs", 1), ("batch_size", 2), ("held_out", 0), ("early_stop", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise SettingError(
                    f"{name.replace('_', ' ')} must be an integer >= {least}, got {getattr(self, name)}: try "
                    f"{getattr(TrainingRecipe, name)}"
                )
        if self.seed > MAX_SEED:
            raise SettingError(f"seed must be an integer <= {MAX_SEED}, got {self.seed}: try {TrainingRecipe.seed}")
        for name, low in (("learning_rate", math.nextafter(0, 1)), ("weight_decay", 0), ("noise", 0)):
            if not low <= getattr(self, name) < math.inf:
                raise SettingError(
                    f"{name.replace('_', ' ')} must be a number {'> 0' if low else '>= 0'}, got {getattr(self, name):g}: "
                    f"try {getattr(TrainingRecipe, name):g}"
                )
        if not 0 <= self.mix <= 1:
            raise SettingError(f"mix must be a share in [0, 1], got {self.mix:g}: try 0.5")
        if self.early_stop and not self.held_out:
            raise SettingError("early stop needs held-out images to watch, got 0: try --held-out 256")
        if self.keep == "best" and not self.held_out:
            raise SettingError("keep best needs held-out images to watch, got 0: try --held-out 256")

    @property
    def is_online_adversarial(self) -> bool:
        """Whether it attacks the network as it stands."""
        return self.method in ONLINE_ADVERSARIAL_METHODS

    @property
    def keeps_best(self) -> bool:
        """Whether the weights of the best accuracy under PGD are kept."""
        return bool(self.held_out) and (self.keep == "best" or (self.keep == "auto" and self.is_online_adversarial))

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as a JSON object."""
        return asdict(self)
