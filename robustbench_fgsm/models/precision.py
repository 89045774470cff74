"""Full float32 on a GPU, where cuDNN rounds factors to 10 bits (TF32) by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float32_precision(device: torch.device, *, tf32: bool = False) -> Iterator[None]:
    """Compute convolutions and matrix products on a GPU in full float32, or in TF32; afterwards restore the settings."""
    if device.type != "cuda":
        yield
        return
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)
