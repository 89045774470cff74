"""Resizing and cropping that a network expects of its images."""

from __future__ import annotations

from dataclasses import dataclass

from robustbench_fgsm.errors import SettingError, did_you_mean

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")


@dataclass(frozen=True)
class Preprocessing:
    """Resizing and centre crop of images; normalisation belongs to the classifier.

    Args:
        resize: length of the shorter side, (s,), or height and width, in pixels; None keeps the size.
        crop: height and width of the centre crop, in pixels; None keeps the whole image.
        interpolation: `nearest`, `bilinear`, `bicubic` or another interpolation of Pillow.
        antialias: smooth before shrinking; image files are always smoothed, as Pillow does it.

    Raises:
        SettingError: a size is not positive, or Pillow has no such interpolation.
    """

    resize: tuple[int, ...] | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        for name, size, lengths in (("resize", self.resize, (1, 2)), ("crop", self.crop, (2,))):
            if size is not None and (len(size) not in lengths or any(side < 1 for side in size)):
                raise SettingError(f"{name} must be positive numbers of pixels, got {size}: try (224, 224)")
        if self.interpolation not in INTERPOLATIONS:
            remedy = did_you_mean(self.interpolation, INTERPOLATIONS)
            raise SettingError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {self.interpolation!r}: {remedy}")

    @classmethod
    def square(cls, size: int) -> Preprocessing:
        """Return the resizing of the shorter side to `size` pixels, and the centre square."""
        return cls((size,), (size, size))
