"""Means and standard deviations of images: recognise them in normalised images, and compare a model's with its bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.feature_values import iter_values
from robustbench_fgsm.spec import NUM_LEVELS, PIXEL_BOUNDS, Bounds, is_8_bit_range

LEVEL_TOLERANCE = 0.1
"""Distance from an 8-bit level, in levels, up to which a pixel counts as on it: statistics are rounded to three or four digits."""

MIN_LEVELS = 8
"""Different levels that are needed if none of them are 0 and 255: a few numbers lie on levels by chance."""

RANGE_TOLERANCE = 0.02
"""Distance of the darkest and brightest pixel from 0 and 1 up to which interpolated images count as fitted."""

MAX_STD = 4
"""Width of the bounds, times this number, above which a standard deviation is in other units: a true one is below a half."""

MAX_VALUES = 100_000
"""Pixels of a channel that are looked at."""


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation, one or one per channel, of images in [0, 1], and the data set that they are of."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.name}mean {format_numbers(self.mean)} and std {format_numbers(self.std)}"

    def in_units_of(self, bounds: Bounds, scale: float = 1.0) -> Normalisation:
        """Return the statistics of the same images within other bounds; scale: largest pixel of these ones, 1 or 255."""
        low, width = bounds.limits[0], bounds.width
        mean = tuple(low + value / scale * width for value in self.mean)
        return Normalisation(self.name, mean, tuple(value / scale * width for value in self.std))


HALF = Normalisation("", (0.5,), (0.5,))
IMAGENET = Normalisation("ImageNet's ", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
KNOWN_NORMALISATIONS = (
    IMAGENET,
    Normalisation("CIFAR-10's ", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    Normalisation("CIFAR-10's ", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    Normalisation("CIFAR-100's ", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    Normalisation("CIFAR-100's ", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    Normalisation("CIFAR-100's ", (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)),
    Normalisation("CLIP's ", (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    Normalisation("SVHN's ", (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    Normalisation("MNIST's ", (0.1307,), (0.3081,)),
    Normalisation("Fashion-MNIST's ", (0.2860,), (0.3530,)),
    HALF,
)


def format_numbers(values: Sequence[float]) -> str:
    """Return the numbers as the command line takes them, with six digits."""
    return ",".join(f"{value:.6g}" for value in values)


def find_normalisation(x: Tensor) -> Normalisation | None:
    """Return the usual statistics by which images (N, ...) were normalised, None if none fit.

    Statistics fit if they bring every pixel back to one of 256 levels; of interpolated images, if the darkest and the brightest
    pixel of each channel become 0 and 1. One channel may have the statistics of any channel of colour images.
    """
    channels = 3 if x.ndim == 4 and x.shape[1] == 3 else 1
    pixels = (x.detach().transpose(0, 1) if channels == 3 else x.detach()).reshape(channels, -1).double().cpu()
    pixels = pixels[:, :: max(1, pixels.shape[1] // MAX_VALUES)]
    if not pixels.numel() or not bool(pixels.isfinite().all()):
        return None
    extremes = torch.stack(pixels.aminmax(dim=1), dim=1)  # (channels, 2)
    on_levels, in_range = [], []
    for known in _candidates(channels):
        mean, std = (torch.tensor(values, dtype=torch.float64).reshape(-1, 1) for values in (known.mean, known.std))
        levels = (pixels * std + mean) * NUM_LEVELS
        misfit = float((levels - levels.round().clamp(0, NUM_LEVELS)).abs().max())
        distance = float((extremes * std + mean - torch.tensor([0.0, 1.0])).abs().max())
        enough = distance <= LEVEL_TOLERANCE / NUM_LEVELS or len(torch.unique(levels.round())) >= MIN_LEVELS
        if misfit <= LEVEL_TOLERANCE and enough:
            on_levels.append((misfit, known))
        if distance <= RANGE_TOLERANCE and x.ndim == 4:
            in_range.append((distance, known))
    fits = on_levels or in_range
    return min(fits, key=lambda fit: fit[0])[1] if fits else None


def _candidates(channels: int) -> Iterator[Normalisation]:
    for known in KNOWN_NORMALISATIONS:
        if channels == 3 or len(known.mean) == 1:
            yield known
        else:
            yield from (Normalisation(known.name, (m,), (s,)) for m, s in zip(known.mean, known.std, strict=True))


def normalisation_warnings(mean: Sequence[float] | None, std: Sequence[float] | None, bounds: Bounds) -> list[str]:
    """Return a warning if mean and std are in other units than the bounds of the images; None stands for no normalisation."""
    low, high = bounds.limits if mean is not None else PIXEL_BOUNDS.limits
    if mean is None or std is None or not math.isfinite(high - low):
        return []
    if not bounds.is_uniform:
        return _feature_mean_warnings(mean, bounds)
    given = Normalisation("", tuple(mean), tuple(std))
    outside = not all(value == 0 or low <= value <= high + 1e-6 for value in mean)
    said = f"{given} do not fit images in [{low:g}, {high:g}]: pass "
    if outside and not 0 <= min(mean) <= max(mean) <= NUM_LEVELS:
        return [f"{said}the mean of the images as the model gets them before it normalises"]
    if (outside and max(mean) > 1) or max(std) > MAX_STD * (high - low):
        return [f"{said}{given.in_units_of(bounds, NUM_LEVELS)}, if the former are those of images in [0, 255]"]
    small = is_8_bit_range(bounds) and 0 < max(map(abs, mean)) <= 1 >= max(std)
    known = bounds != PIXEL_BOUNDS and any(_is_close(given, one) for one in KNOWN_NORMALISATIONS)
    if not (outside or small or known):
        return []
    return [f"{said}{given.in_units_of(bounds)}, because the former are those of images in [0, 1]"]


def _feature_mean_warnings(mean: Sequence[float], bounds: Bounds) -> list[str]:
    """Return a warning if a mean, one for each feature, lies outside the bounds of its feature."""
    pairs = [*zip(iter_values(bounds.lower), iter_values(bounds.upper), strict=True)]
    wrong = [
        place
        for place, (value, (low, high)) in enumerate(zip(mean, pairs, strict=False))
        if value != 0 and not low - (high - low) * 1e-6 <= value <= high + (high - low) * 1e-6
    ]
    if len(mean) != len(pairs) or not wrong:
        return []
    (low, high), value = pairs[wrong[0]], mean[wrong[0]]
    return [
        f"the mean of {len(wrong)} features lies outside their bounds, first {value:.6g} of feature {wrong[0]} in "
        f"[{low:.6g}, {high:.6g}]: pass mean and std in the units of the data"
    ]


def _is_close(given: Normalisation, known: Normalisation) -> bool:
    """Return True if all numbers agree to three digits; one number counts for every channel."""
    repeated = len(given.mean) if len(known.mean) == 1 else 1
    numbers, expected = (*given.mean, *given.std), (*known.mean * repeated, *known.std * repeated)
    return len(numbers) == len(expected) and all(abs(a - b) < 1e-3 for a, b in zip(numbers, expected, strict=True))
