"""What a network expects of its images before they are pixels between the bounds: resizing and cropping."""

from __future__ import annotations

from dataclasses import dataclass

from robustbench_fgsm.errors import SettingError, did_you_mean

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")


@dataclass(frozen=True)
class Preprocessing:
    """Resize, then crop the centre: the data's part of a network's preprocessing, while normalisation is the classifier's.

    resize: length of the shorter side, (s,), or height and width; None to leave the size. crop: height and width of the
    centre that is kept; None for all of it. interpolation: nearest, bilinear, bicubic or another of Pillow's. antialias:
    whether shrinking smooths first; image files are always smoothed, as Pillow does it.

    Raises SettingError for sizes that are not positive and an interpolation that Pillow does not have.
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
        """The shorter side to so many pixels, and the square in the middle."""
        return cls((size,), (size, size))
