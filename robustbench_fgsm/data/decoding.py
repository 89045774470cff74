"""Decoding of image files, which may be cut short, mislabelled or hostile, into pixels."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from robustbench_fgsm.data.axes import to_channels_first
from robustbench_fgsm.data.pixels import to_sample_tensor
from robustbench_fgsm.errors import DataError, first_line
from robustbench_fgsm.models.preprocessing import Preprocessing

PixelArray = NDArray[Any]

IMAGE_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are decoded; the name of a file does not matter."""

MAX_PIXELS = 89_478_485
"""Pillow's own MAX_IMAGE_PIXELS, above which it only warns: 360 MB once decoded."""

MAX_IMAGE_BYTES = 2**29
"""Largest image file, more than MAX_PIXELS need in any format."""

GREY_MODES = ("1", "L", "LA")
HIGH_BIT_DEPTH_MODES = ("I", "F")
"""Beginnings of Pillow's modes with more than 8 bits a channel."""

HIGH_BIT_DEPTH_REMEDY = "convert it to 8 bits, or save all images as float32 arrays in [0, 1] (npz:FILE), which keeps every bit"
PNG_BIT_DEPTH_OFFSET = 24
"""Place of the bit depth in a PNG: behind the signature, the chunk's length and name, width and height."""

TIFF_BITS_PER_SAMPLE = 258
PPM_HEADER = re.compile(rb"P[23567](?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d+)")
MAX_PPM_HEADER = 1000

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
                _check_header(image, encoded)
                yield image
    except UnidentifiedImageError:
        raise UnreadableError(f"not an image in one of {', '.join(IMAGE_FORMATS)}") from None
    except DECODER_ERRORS as error:
        raise UnreadableError(f"cannot be decoded ({first_line(error)})") from error


def _check_header(image: Image.Image, encoded: bytes) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableError(f"{width:,} x {height:,} pixels are more than {MAX_PIXELS:,}")
    _check_mode(image)
    bits = bits_per_channel(image, encoded)
    if bits > 8:
        raise UnreadableError(f"more than 8 bits a channel ({bits} bits, mode {image.mode}): {HIGH_BIT_DEPTH_REMEDY}")


def _check_mode(image: Image.Image) -> None:
    if image.mode.startswith(HIGH_BIT_DEPTH_MODES):
        raise UnreadableError(f"more than 8 bits a channel (mode {image.mode}): {HIGH_BIT_DEPTH_REMEDY}")


def bits_per_channel(image: Image.Image, encoded: bytes) -> int:
    """Return the bits of one channel that the header of a file declares: Pillow reads some files of 16 bits as 8 bits."""
    if image.format == "PNG":
        return encoded[PNG_BIT_DEPTH_OFFSET] if len(encoded) > PNG_BIT_DEPTH_OFFSET else 8
    if image.format == "TIFF":
        found = getattr(image, "tag_v2", {}).get(TIFF_BITS_PER_SAMPLE, 8)
        return max(found) if isinstance(found, tuple) else int(found)
    if image.format == "PPM":
        highest = PPM_HEADER.match(encoded[:MAX_PPM_HEADER])
        return int(highest[1]).bit_length() if highest else 8
    return 8


def has_grey_mode(image: Image.Image) -> bool:
    """Return True if an image has one channel, or a palette of greys alone; only the header is read."""
    if image.mode != "P":
        return image.mode in GREY_MODES
    colours = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return len(colours) > 0 and bool((colours == colours[:, :1]).all())


def is_grey(encoded: bytes) -> bool:
    """Return True if an image is grey by its header; raise UnreadableError."""
    with open_image(encoded) as image:
        return has_grey_mode(image)


def decode_image(encoded: bytes, channels: int, preprocessing: Preprocessing | None) -> PixelArray:
    """Return the pixels uint8 (C, H, W), C = 1 or 3, of an image file; raise UnreadableError.

    Transparency and orientation tags are ignored, as in torchvision; of an animation the first frame counts. A colour image becomes
    grey only if its channels are equal everywhere.
    """
    with open_image(encoded) as image:
        if channels == 1 and not has_grey_mode(image):
            colours = image.convert("RGB")
            red, green, blue = colours.split()
            if red.tobytes() != green.tobytes() or red.tobytes() != blue.tobytes():
                raise UnreadableError(f"a colour image (mode {image.mode}) among grey ones")
            return pillow_to_pixels(red, preprocessing)
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


def image_to_pixels(image: Any, preprocessing: Preprocessing | None, layout: str | None = None) -> PixelArray:
    """Return pixels (C, H, W), uint8 or floating point, of an image of a torch data set.

    image: a Pillow image; a tensor or an array (C, H, W), (H, W, C) or (H, W); features (F,), or a volume (C, D, H, W). layout:
    axes of a batch; None to infer them from the shape, where a tensor whose shape allows several is (C, H, W). Raises
    UnreadableError for anything else.
    """
    if isinstance(image, Image.Image):
        _check_mode(image)
        return pillow_to_pixels(image.convert("L" if has_grey_mode(image) else "RGB"), preprocessing)
    if not isinstance(image, (torch.Tensor, np.ndarray)) or not 1 <= image.ndim <= 4:
        raise UnreadableError(
            f"images must be Pillow images, or tensors or arrays (C, H, W) or (H, W, C), got {_type_and_shape(image)}"
        )
    try:
        tensor = to_sample_tensor(image, "the data set")
        ambiguous = "NCHW" if isinstance(image, torch.Tensor) else None
        tensor = to_channels_first(tensor[None], layout, "the data set", ambiguous=ambiguous)[0]
    except DataError as error:
        raise UnreadableError(str(error)) from error
    if preprocessing is not None and tensor.ndim == 3:
        tensor = resize_and_crop(tensor, preprocessing)
    found: PixelArray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().cpu().numpy()
    return found


def _type_and_shape(image: object) -> str:
    shape = getattr(image, "shape", None)
    return type(image).__name__ + (f" of shape {tuple(shape)}" if shape is not None else "")
