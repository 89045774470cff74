"""Bytes that are images, and bytes that only say so."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional
from torchvision.transforms._presets import ImageClassification

from robustbench_fgsm.data.decoding import MAX_PIXELS, UnreadableError, decode_image, image_to_pixels, is_grey
from robustbench_fgsm.models.preprocessing import Preprocessing

Encode = Callable[..., bytes]


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that claims to be so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pixels_are_those_of_the_image(encode: Encode, picture: Callable[..., Image.Image], kind: str, mode: str) -> None:
    channels = 3 if mode == "RGB" else 1
    pixels = decode_image(encode(4, kind, mode=mode), channels, None)
    expected = np.asarray(picture(4, mode=mode)).reshape(10, 12, channels).transpose(2, 0, 1)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)
    assert is_grey(encode(4, kind, mode=mode)) == (mode == "L")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_match_pillow(encode: Encode, tmp_path: Path, kind: str) -> None:
    (tmp_path / "image").write_bytes(encode(1, kind))
    expected = np.asarray(Image.open(tmp_path / "image").convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode_image(encode(1, kind), 3, None), expected)


def test_grey_becomes_three_equal_channels(encode: Encode) -> None:
    pixels = decode_image(encode(mode="L"), 3, None)
    assert (pixels[0] == pixels[1]).all()
    assert (pixels[0] == pixels[2]).all()


def test_rejects_colour_among_grey_images(encode: Encode) -> None:
    with pytest.raises(UnreadableError, match=r"a colour image \(mode RGB\) among grey ones"):
        decode_image(encode(), 1, None)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_truncated_files_are_unreadable_or_whole(encode: Encode, kind: str) -> None:
    whole = encode(2, kind, size=(40, 30))
    expected = decode_image(whole, 3, None)
    for end in range(0, len(whole) - 1, max(1, len(whole) // 40)):
        try:
            pixels = decode_image(whole[:end], 3, None)
        except UnreadableError:
            continue
        np.testing.assert_array_equal(pixels, expected)  # only a trailer was cut off


@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"P6 "]))
def test_random_bytes_are_unreadable(data: bytes, start: bytes) -> None:
    with pytest.raises(UnreadableError):
        decode_image(start + data, 3, None)


def test_no_bytes() -> None:
    with pytest.raises(UnreadableError, match="the file is empty"):
        decode_image(b"", 3, None)


def test_a_format_outside_the_list(encode: Encode) -> None:
    with pytest.raises(UnreadableError, match="not an image in one of BMP, JPEG, PNG, PPM, TIFF, WEBP"):
        decode_image(encode(kind="GIF"), 3, None)


def test_more_than_eight_bits_a_channel(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UnreadableError, match=r"more than 8 bits a channel \(mode I;16\): convert it"):
        decode_image((tmp_path / "deep.png").read_bytes(), 3, None)


def png_of_16_bits(channels: int) -> bytes:
    """A PNG whose levels are those of a camera, 12 bits in 16; Pillow cuts its colours to 8 bits without a word."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    levels = np.random.default_rng(0).integers(0, 4096, (6, 5, channels)).astype(">u2")
    header = struct.pack(">IIBBBBB", 5, 6, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in levels))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


LEVELS = np.random.default_rng(0).integers(0, 65536, (6, 5, 3)).astype(">u2").tobytes()


@pytest.mark.parametrize(
    "encoded",
    [
        *map(png_of_16_bits, (1, 2, 3, 4)),
        b"P6 5 6 65535\n" + LEVELS,
        b"P6\n# a comment\n5 6\n4095\n" + LEVELS,
        b"P5 5 6 4095\n" + LEVELS[:60],
    ],
)
def test_no_bit_of_16_is_lost_in_silence(encoded: bytes) -> None:
    for channels in (1, 3):
        with pytest.raises(
            UnreadableError, match=r"more than 8 bits a channel .*: convert it to 8 bits, or save all images as float32"
        ):
            decode_image(encoded, channels, None)
    with pytest.raises(UnreadableError, match="more than 8 bits a channel"):
        is_grey(encoded)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGB"])
def test_grey_images_of_any_mode(picture: Callable[..., Image.Image], mode: str) -> None:
    """A palette of greys is grey by its header, and colours that are equal everywhere become grey if that is asked."""
    grey = picture(3, mode="L").convert(mode)
    stream = io.BytesIO()
    grey.save(stream, "PNG")
    encoded = stream.getvalue()
    assert is_grey(encoded) == (mode != "RGB")
    np.testing.assert_array_equal(decode_image(encoded, 1, None)[0], np.asarray(grey.convert("L")))
    np.testing.assert_array_equal(decode_image(encoded, 3, None), np.stack([np.asarray(grey.convert("L"))] * 3))


def test_a_palette_of_colours_is_colour(picture: Callable[..., Image.Image]) -> None:
    stream = io.BytesIO()
    picture(3).quantize(16).save(stream, "PNG")
    assert not is_grey(stream.getvalue())
    with pytest.raises(UnreadableError, match=r"a colour image \(mode P\) among grey ones"):
        decode_image(stream.getvalue(), 1, None)


@pytest.mark.parametrize("factor", [1.1, 2.1])
def test_header_reveals_too_many_pixels(factor: float) -> None:
    side = int((factor * MAX_PIXELS) ** 0.5)
    with pytest.raises(UnreadableError, match=r"pixels are more than|exceeds limit"):
        decode_image(bomb(side, side), 3, None)


def claim(kind: str, encoded: bytes, side: int) -> bytes:
    """Return an image file whose header claims `side` x `side` pixels; 16383 at most for WEBP."""
    content = bytearray(encoded)
    if kind == "PPM":
        return b"P6\n%d %d\n255\n" % (side, side) + bytes(encoded[-30:])
    if kind == "BMP":
        content[18:26] = struct.pack("<ii", side, side)
    elif kind == "JPEG":
        place = next(encoded.index(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in encoded)
        content[place + 5 : place + 9] = struct.pack(">HH", side, side)
    elif kind == "TIFF":
        start = struct.unpack("<I", encoded[4:8])[0]
        for entry in range(start + 2, start + 2 + 12 * struct.unpack("<H", encoded[start : start + 2])[0], 12):
            if struct.unpack("<H", encoded[entry : entry + 2])[0] in (256, 257):  # width and height
                content[entry : entry + 12] = encoded[entry : entry + 2] + struct.pack("<HII", 4, 1, side)
    else:  # lossless WEBP: two numbers of 14 bits behind the signature
        content[21:25] = struct.pack("<I", (side - 1) | (side - 1) << 14)
    return bytes(content)


SIDES = {"PPM": 10**6, "BMP": 2**31 - 1, "JPEG": 65500, "TIFF": 2**31, "WEBP": 16000}


def test_too_many_pixels_take_no_memory(tmp_path: Path, picture: Callable[..., Image.Image]) -> None:
    """Fault 9: above twice Pillow's limit, under 500 MB; measured in a process of its own."""
    side = int((2.1 * MAX_PIXELS) ** 0.5)
    (tmp_path / "bomb.png").write_bytes(bomb(side, side))
    for kind, claimed in SIDES.items():
        encoded = io.BytesIO()
        picture(4).save(encoded, kind, **({"lossless": True} if kind == "WEBP" else {}))
        (tmp_path / f"bomb.{kind}").write_bytes(claim(kind, encoded.getvalue(), claimed))
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from robustbench_fgsm.data.decoding import UnreadableError, decode_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for file in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try: decode_image(file.read_bytes(), 3, None)\n"
        "    except UnreadableError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert len(grown := list(map(int, done.stdout.split()))) == 1 + len(SIDES)
    assert max(grown) < 50_000  # kilobytes


@pytest.mark.parametrize(("resize", "crop", "interpolation"), [(40, 32, "bilinear"), (33, 32, "bicubic"), (20, 32, "nearest")])
def test_resizing_matches_torchvision(
    encode: Encode, picture: Callable[..., Image.Image], resize: int, crop: int, interpolation: str
) -> None:
    mode = functional.InterpolationMode(interpolation)
    preset = ImageClassification(crop_size=crop, resize_size=resize, mean=(0, 0, 0), std=(1, 1, 1), interpolation=mode)
    expected = preset(picture(3, size=(70, 50)))
    pixels = decode_image(encode(3, size=(70, 50)), 3, Preprocessing((resize,), (crop, crop), interpolation))
    assert torch.equal(torch.from_numpy(pixels).float() / 255, expected)


def test_converts_images_arrays_and_tensors() -> None:
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    channels_first = pixels.transpose(2, 0, 1)
    np.testing.assert_array_equal(image_to_pixels(Image.fromarray(pixels), None), channels_first)
    np.testing.assert_array_equal(image_to_pixels(pixels, None), channels_first)
    np.testing.assert_array_equal(image_to_pixels(torch.from_numpy(channels_first.copy()), None), channels_first)
    assert image_to_pixels(torch.rand(4, 5), None).shape == (1, 4, 5)
    assert image_to_pixels(torch.rand(3, 8, 8), Preprocessing.square(4)).shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("text", "got str"),
        (torch.zeros(2, 2, 2, 2, 2), r"got Tensor of shape \(2, 2, 2, 2, 2\)"),
        (torch.zeros(3, 4, 4).long(), "got int64"),
    ],
)
def test_rejects_other_objects(image: object, found: str) -> None:
    with pytest.raises(UnreadableError, match=found):
        image_to_pixels(image, None)


@pytest.mark.parametrize("wrap", [torch.from_numpy, lambda array: array])
def test_tells_the_axes_of_arrays_apart(wrap: Callable[[np.ndarray], object]) -> None:
    channels_first = np.random.default_rng(0).random((3, 9, 8)).astype(np.float32)
    channels_last = np.ascontiguousarray(channels_first.transpose(1, 2, 0))
    for image in (channels_first, channels_last):
        np.testing.assert_array_equal(image_to_pixels(wrap(image), None), channels_first)
    np.testing.assert_array_equal(image_to_pixels(wrap(channels_last), None, "NCHW"), channels_last)
