"""Image files of every kind, made here."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Picture = Callable[..., Image.Image]
Encode = Callable[..., bytes]
Folder = Callable[..., Path]


@pytest.fixture
def picture() -> Picture:
    """An image of random pixels, by seed."""

    def make(seed: int = 0, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> Image.Image:
        width, height = size
        shape = (height, width) if mode == "L" else (height, width, 3)
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        return Image.fromarray(pixels)

    return make


@pytest.fixture
def encode(picture: Picture) -> Encode:
    """The bytes of such an image as a file."""

    def make(seed: int = 0, kind: str = "PNG", **options: Any) -> bytes:
        file = io.BytesIO()
        picture(seed, **options).save(file, kind)
        return file.getvalue()

    return make


@pytest.fixture
def folder(tmp_path: Path, encode: Encode) -> Folder:
    """A directory of images for each class."""

    def make(classes: tuple[str, ...] = ("cat", "dog"), each: int = 3, **options: Any) -> Path:
        place = tmp_path / "pets"
        for label, name in enumerate(classes):
            (place / name).mkdir(parents=True, exist_ok=True)
            for index in range(each):
                (place / name / f"{index}.png").write_bytes(encode(10 * label + index, **options))
        return place

    return make
