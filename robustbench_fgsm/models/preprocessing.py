"""What a network expects of its images before they are pixels between the bounds: resizing and cropping."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preprocessing:
    """Resize, then crop the centre: the data's part of a network's preprocessing, while normalisation is the classifier's.

    resize: length of the shorter side, (s,), or height and width; None to leave the size. crop: height and width of the
    centre that is kept; None for all of it. interpolation: by Pillow's name, bilinear or bicubic mostly. antialias:
    whether shrinking smooths first.
    """

    resize: tuple[int, ...] | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    antialias: bool = True
