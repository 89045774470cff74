"""Decoding of image files, which may be cut short, mislabelled or hostile, into pixels."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from robustbench_fgsm.errors import first_line
from robustbench_fgsm.models.preprocessing import Preprocessing

PixelArray = NDArray[Any]

IMAGE_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are decoded, whatever a file is called."""

MAX_PIXELS = 89_478_485
"""Pillow's own MAX_IMAGE_PIXELS, above which it only warns: 360 MB once decoded."""

GREY_MODES = ("1", "L", "LA")
HIGH_BIT_DEPTH_MODES = ("I", "F")
"""Beginnings of Pillow's modes with more than 8 bits a channel."""

DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on bytes that are not what they claim to be."""


class UnreadableError(Exception):
    """Reason why an image cannot be read; it becomes a `BadSample`."""


@contextmanager
def open_image(encoded: bytes) -> Iterator[Image.Image]:
    """Open an image, of which only the header is read.

    Raises UnreadableError if the file is empty, has another format or too many pixels, or Pillow cannot read it.
    """
    if not encoded:
        raise UnreadableError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of size, which is checked below, and of metadata, which is not used
            with Image.open(io.BytesIO(encoded), formats=IMAGE_FORMATS) as image:
                _check_header(image)
                yield image
    except UnidentifiedImageError:
        raise UnreadableError(f"not an image in one of {', '.join(IMAGE_FORMATS)}") from None
    except DECODER_ERRORS as error:
        raise UnreadableError(f"cannot be decoded ({first_line(error)})") from error


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableError(f"{width:,} x {height:,} pixels are more than {MAX_PIXELS:,}")
    if image.mode.startswith(HIGH_BIT_DEPTH_MODES):
        raise UnreadableError(f"more than 8 bits a channel (mode {image.mode}): convert it to 8 bits")


def is_grey(encoded: bytes) -> bool:
    """Return True if an image has one channel, by its header; raise UnreadableError."""
    with open_image(encoded) as image:
        return image.mode in GREY_MODES


def decode_image(encoded: bytes, channels: int, preprocessing: Preprocessing | None) -> PixelArray:
    """Return the pixels uint8 (C, H, W), C = 1 or 3, of an image file; raise UnreadableError.

    Transparency and orientation tags are ignored, as in torchvision. A colour image is not converted to grey.
    """
    with open_image(encoded) as image:
        if channels == 1 and image.mode not in GREY_MODES:
            raise UnreadableError(f"a colour image (mode {image.mode}) among grey ones")
        return pillow_to_pixels(image.convert("L" if channels == 1 else "RGB"), preprocessing)


def pillow_to_pixels(image: Image.Image, preprocessing: Preprocessing | None) -> PixelArray:
    """Return pixels uint8 (C, H, W), resized and cropped exactly as torchvision's presets do it."""
    if preprocessing is not None:
        image = resize_and_crop(image, preprocessing)
    pixels = np.array(image, dtype=np.uint8)
    return pixels[np.newaxis] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def resize_and_crop(image: Any, preprocessing: Preprocessing) -> Any:
    """Return a Pillow image or a tensor (C, H, W), resized and cropped by torchvision's own functions."""
    from torchvision.transforms import InterpolationMode  # takes a second
    from torchvision.transforms import functional as transforms

    if preprocessing.resize is not None:
        mode = InterpolationMode(preprocessing.interpolation)
        smooth = preprocessing.antialias or isinstance(image, Image.Image)  # Pillow cannot but smooth
        image = transforms.resize(image, list(preprocessing.resize), mode, antialias=smooth)
    return image if preprocessing.crop is None else transforms.center_crop(image, list(preprocessing.crop))


def image_to_pixels(image: Any, preprocessing: Preprocessing | None) -> PixelArray:
    """Return pixels (C, H, W), uint8 or floating point, of an image of a torch data set.

    image: a Pillow image, a tensor (C, H, W) or (H, W), or an array (H, W, C) or (H, W). Raises UnreadableError for anything else.
    """
    if isinstance(image, Image.Image):
        return pillow_to_pixels(image.convert("L" if image.mode in GREY_MODES else "RGB"), preprocessing)
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1) if image.ndim == 3 else image))
    if not isinstance(image, torch.Tensor) or image.ndim not in (2, 3):
        raise UnreadableError(f"images must be Pillow images, tensors (C, H, W) or arrays (H, W, C), got {_type_and_shape(image)}")
    if not (image.dtype == torch.uint8 or image.is_floating_point()):
        raise UnreadableError(f"images must be uint8 or floating point in pixel space, got {image.dtype}")
    tensor = image if image.ndim == 3 else image.unsqueeze(0)
    found: PixelArray = (tensor if preprocessing is None else resize_and_crop(tensor, preprocessing)).detach().cpu().numpy()
    return found


def _type_and_shape(image: object) -> str:
    shape = getattr(image, "shape", None)
    return type(image).__name__ + (f" of shape {tuple(shape)}" if shape is not None else "")
