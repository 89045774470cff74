"""Random crops and flips of training images, by torchvision's transforms."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from robustbench_fgsm.errors import SettingError

Augment = Callable[[Tensor], Tensor]


def parse_augmentation(text: str, image_size: tuple[int, int]) -> Augment | None:
    """Return a function that augments images (N, C, H, W), or None for `none`.

    Each image has a random draw of its own from PyTorch's global generator.

    Args:
        text: `flip`, `crop:PIXELS` (pad the image by PIXELS, then crop it to its size), or both with a comma between.
        image_size: height and width of the images, in pixels.

    Raises:
        SettingError: for any other text, or a crop by at least the image size.
    """
    if text == "none":
        return None
    steps: list[nn.Module] = []
    for word in text.split(","):
        name, _, pixels = word.strip().partition(":")
        if name == "crop" and pixels.isdecimal() and len(pixels) < 10 and int(pixels) > 0:
            if int(pixels) >= min(image_size):
                raise SettingError(
                    f"augment must crop by fewer pixels than images of {image_size[0]} x {image_size[1]} have, got {text!r}: "
                    "try crop:2"
                )
            steps.append(v2.RandomCrop(list(image_size), padding=int(pixels)))
        elif name == "flip" and not pixels:
            steps.append(v2.RandomHorizontalFlip())
        else:
            raise SettingError(f"augment must be none, flip, crop:PIXELS or a comma list, got {text!r}: try crop:2,flip")
    transform = v2.Compose(steps)
    return lambda x: torch.stack([transform(image) for image in x])
