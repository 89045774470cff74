"""Numbers of samples in any form as a tensor, checked: pixels, features, signals and volumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.arguments import check_dense, check_not_masked, native_tensor
from robustbench_fgsm.errors import DataError, first_line


def to_sample_tensor(samples: object, data_name: str) -> Tensor:
    """Return a tensor of uint8, or of floating-point numbers, without a copy if possible.

    samples: a tensor, an array or a nested list. Raises DataError, with the conversion, for another type of numbers.
    """
    tensor = samples if isinstance(samples, Tensor) else _array_to_tensor(samples, data_name)
    check_dense(tensor, "images")
    tensor = tensor.detach()
    if tensor.dtype == torch.uint8 or tensor.is_floating_point():
        return tensor
    found = f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
    remedy = _conversion(tensor, is_array=not isinstance(samples, Tensor))
    raise DataError(f"images must be uint8 or floating point in pixel space, got {found} in {data_name}: {remedy}")


def _array_to_tensor(samples: object, data_name: str) -> Tensor:
    check_not_masked(samples, f"images of {data_name}")
    try:
        array: Any = np.asarray(samples)
    except (ValueError, TypeError) as error:
        raise DataError(f"{data_name} must hold images of one shape, got none that make one array ({first_line(error)})") from error
    if array.dtype.kind not in "biufc":
        raise DataError(f"{data_name} must hold numbers, got an array of {array.dtype}: convert it")
    if array.dtype.kind == "f" and array.dtype.itemsize > np.dtype(np.float64).itemsize:
        array = array.astype(np.float64)
    return native_tensor(array)


def _conversion(tensor: Tensor, *, is_array: bool) -> str:
    """Return the remedy for numbers of a type that no images have, in the words of NumPy or of PyTorch."""
    as_float, as_uint8 = (".astype('float32')", ".astype('uint8')") if is_array else (".float()", ".byte()")
    if tensor.is_complex():
        return "pass the magnitude or the real part as float32"
    if tensor.dtype == torch.bool:
        return f"pass images{as_float}, where True is 1"
    if tensor.ndim == 2:
        return f"pass features as float32, as in features{as_float}"
    unsigned = tensor.dtype in (torch.uint16, torch.uint32, torch.uint64)  # without extremes in PyTorch
    low, high = (0, 0) if unsigned or not tensor.numel() else (int(extreme) for extreme in tensor.aminmax())
    if low < 0:
        return f"pass images{as_float}, scaled from [{low}, {high}] into the bounds of the model"
    if unsigned or high > np.iinfo(np.uint8).max:
        return "divide them by their largest possible value (65535 for 16 bits) as float32"
    return f"convert them to uint8, as in images{as_uint8}, or divide them by 255 as float32"
