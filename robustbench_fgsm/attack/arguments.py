"""Arguments of an attack in the forms that users have, as tensors; each form that is none is named with its remedy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.clip import PixelwiseBounds, feature_tensor, limits_of, uniform_bounds
from robustbench_fgsm.attack.image_range import check_range, float_hint
from robustbench_fgsm.attack.network_call import network_device
from robustbench_fgsm.attack.step import axis_hint, can_broadcast
from robustbench_fgsm.errors import DataError, ModelError, SettingError, first_line
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds, check_epsilon_scale, parse_epsilon

ArrayLike = Tensor | np.ndarray[Any, Any] | Sequence[Any]
"""Tensor, NumPy array, or list of numbers or of tensors."""

FEW_LABELS = 64
"""Labels on the CPU up to which Python finds the extremes faster than PyTorch."""

SIGNED_LABELS_REMEDY = "pass (labels + 1) // 2, which makes -1 and 1 class 0 and class 1"
IGNORED_LABEL = -100
"""Label that PyTorch's losses ignore: without a loss, there is no gradient."""


def check_model(model: object) -> None:
    """Raise ModelError unless the model can be called or is a classifier."""
    if not callable(model) and not hasattr(model, "loss_gradient"):
        remedy = "pass a torch module, a function or a classifier"
        if isinstance(model, str):
            remedy = f"pass rf.load_classifier({model!r})"
        raise ModelError(f"model must be callable from images to logits, got {type(model).__name__}: {remedy}")


def to_images(x: object, model: object) -> Tensor:
    """Return images (N, ...) as a detached tensor: arrays and lists of numbers as float32 on the model's device.

    Raises DataError for other objects, and without a batch axis. Arrays of integers stay integers, which `check_batch` names.
    """
    if isinstance(x, Tensor):
        images = x.detach()
    else:
        images = _array_to_tensor(x, "images", "pass a batch of images (N, ...), and a whole data set to rf.evaluate")
        images = (images.float() if images.is_floating_point() else images).to(_device_of(model))
    check_dense(images, "images")
    if images.ndim < 2:
        raise DataError(f"images must have a batch axis (N, ...), got shape {tuple(images.shape)}: pass images[None]")
    return images


def check_dense(tensor: Tensor, name: str) -> None:
    """Raise DataError if a tensor is sparse or quantised."""
    if tensor.is_quantized:
        raise DataError(f"{name} must be a plain tensor, got a quantised one: pass {name}.dequantize()")
    if tensor.layout != torch.strided:
        raise DataError(f"{name} must be a dense tensor, got {tensor.layout}: pass {name}.to_dense()")


def to_labels(y: Any, x: Tensor) -> Any:
    """Return labels or targets as a tensor on the images' device, (N,) of any integers as int64; `check_labels` names the rest."""
    if y is None or (isinstance(y, Tensor) and y.dtype == torch.int64 and y.device == x.device):
        return y
    if isinstance(y, (int, float, np.number)):
        each = f"[{y}] * {len(x)}" if len(x) > 1 else f"[{y}]"
        raise DataError(f"labels must be one per image ({len(x)},), got the number {y}: pass {each}")
    if isinstance(y, Tensor):
        check_dense(y, "labels")
    labels = y if isinstance(y, Tensor) else _array_to_tensor(y, "labels", "pass one class index for each image")
    if labels.ndim == 1 and not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool):
        labels = labels.long()
    return labels.to(x.device)


def to_epsilon(epsilon: Any, x: Tensor, norm: float, bounds: PixelwiseBounds | None) -> float | Tensor:
    """Return a budget as a number, or as a tensor on the images' device; text such as `8/255` is parsed."""
    if isinstance(epsilon, (float, Tensor)) or (isinstance(epsilon, int) and not isinstance(epsilon, bool)):
        if isinstance(epsilon, Tensor) and (epsilon.is_complex() or epsilon.dtype == torch.bool):
            raise SettingError(f"epsilon must be real numbers, got {epsilon.dtype}: pass epsilon.float()")
        return epsilon
    if isinstance(epsilon, str):
        budgets = parse_epsilon(epsilon, norm, uniform_bounds(bounds))
        if len(budgets) > 1:
            raise SettingError(f"epsilon must be one budget, got {epsilon!r}: pass several to rf.fgsm_sweep")
        return budgets[0]
    try:
        budget = _array_to_tensor(epsilon, "epsilon", "pass a number or text such as 8/255")
    except DataError as error:
        raise SettingError(str(error)) from None
    if budget.dtype == torch.bool or budget.is_complex():
        raise SettingError(f"epsilon must be real numbers, got {budget.dtype}: pass a number or text such as 8/255")
    if budget.ndim == 0:
        return float(budget)
    if budget.ndim == 1 and len(budget) not in (1, len(x)) and isinstance(epsilon, (list, tuple)):
        raise SettingError(
            f"epsilon must be one budget, or one per image ({len(x)},), got a list of {len(budget)}: pass several budgets to "
            "rf.fgsm_sweep, or an array that broadcasts to the images"
        )
    return budget.to(x.device, x.dtype)


def to_bounds(bounds: Any, x: Tensor) -> PixelwiseBounds | None:
    """Return low and high limit as numbers, or both as tensors that broadcast to the images; None stands for no limits.

    Raises SettingError for another form, for limits that are not in order, and for limits that do not broadcast.
    """
    if bounds is None or (isinstance(bounds, Bounds) and bounds.is_uniform):
        return bounds
    if isinstance(bounds, Bounds):
        limits_of(bounds, x)
        return bounds
    try:
        low, high = bounds
        if low is None or high is None:
            raise TypeError
        arrays = [side if isinstance(side, Tensor) else np.asarray(side, np.float64) for side in (low, high)]
        sides = [torch.as_tensor(array).detach() for array in arrays]
    except (TypeError, ValueError):
        raise SettingError(f"bounds must be low and high, or None, got {bounds!r:.60}: pass bounds=(0, 1)") from None
    if all(side.ndim == 0 for side in sides):
        numbers = float(low), float(high)
        if not numbers[0] < numbers[1]:
            hint = f"pass bounds=({numbers[1]:g}, {numbers[0]:g})" if numbers[0] > numbers[1] else "pass low below high"
            raise SettingError(f"bounds must be low and high, got {numbers[0]:g} and {numbers[1]:g}: {hint}")
        return Bounds(*numbers)
    for side in sides:
        if not can_broadcast(side.shape, x.shape):
            raise SettingError(
                f"bounds must broadcast to the images {tuple(x.shape)}, got {tuple(side.shape)}{axis_hint(side, x, 'bounds')}"
            )
    lows, highs = (side.to(x.device, x.dtype) for side in sides)
    if not bool((lows <= highs).all()):
        raise SettingError("bounds must have low <= high everywhere, got some that have not: pass them as (low, high)")
    return lows, highs


def to_scale(scale: Any, x: Tensor, bounds: PixelwiseBounds | None) -> Tensor | None:
    """Return what epsilon is multiplied by as a tensor that broadcasts to the images; raises as `check_epsilon_scale` does."""
    if isinstance(scale, str) and scale == "range" and bounds is not None and not isinstance(bounds, Bounds):
        widths = bounds[1] - bounds[0]
        if bool(widths.isfinite().all()):
            return widths
    known = bounds if isinstance(bounds, Bounds) and isinstance(scale, str) else Bounds(-math.inf, math.inf)
    numbers = check_epsilon_scale(scale, known)  # numbers need not have the form of the bounds
    return None if numbers is None else feature_tensor(numbers, x, "epsilon scale")


def to_mask(mask: Any, x: Tensor) -> Tensor | None:
    """Return the mask as a tensor on the images' device; raise SettingError unless it is bool, or float >= 0, and broadcasts."""
    if mask is None:
        return None
    if not isinstance(mask, Tensor):
        try:
            mask = _array_to_tensor(mask, "mask", "pass a mask that broadcasts to the images")
        except DataError as error:
            raise SettingError(str(error)) from None
    check_mask(mask, x)
    found: Tensor = mask.to(x.device)
    return found


def check_mask(mask: Tensor | None, x: Tensor) -> None:
    """Raise SettingError unless the mask is None, or bool or float >= 0 and broadcasts to the images."""
    if mask is None:
        return
    if not can_broadcast(mask.shape, x.shape):
        hint = axis_hint(mask, x, "mask")
        raise SettingError(f"mask must broadcast to the images {tuple(x.shape)}, got {tuple(mask.shape)}{hint}")
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise SettingError(f"mask must be bool, or floating point >= 0, got {mask.dtype}: pass mask != 0")
    if mask.dtype != torch.bool and not bool((mask >= 0).all()):
        raise SettingError("mask must be bool, or floating point >= 0, got numbers below 0 or NaN: pass mask > 0")


def to_start(start: Any, x: Tensor) -> Tensor | None:
    """Return the start as a tensor like the images; raise DataError unless it has their shape."""
    if start is None:
        return None
    remedy = "pass images in the shape of x"
    found = start.detach() if isinstance(start, Tensor) else _array_to_tensor(start, "start", remedy)
    if found.shape != x.shape:
        raise DataError(f"start must have the shape of the images {tuple(x.shape)}, got {tuple(found.shape)}: {remedy}")
    return found.to(x.device, x.dtype)


def to_ids(ids: Any, count: int) -> list[int]:
    """Return identities of images as integers; raise DataError unless there is one integer >= 0 for each image."""
    remedy = "pass one integer >= 0 for each image"
    found = ids if isinstance(ids, Tensor) else _array_to_tensor(ids, "ids", remedy)
    is_integer = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
    if found.shape != (count,) or not is_integer or (count and int(found.min()) < 0):
        raise DataError(f"ids must be integers >= 0 of shape ({count},), got {found.dtype} of shape {tuple(found.shape)}: {remedy}")
    numbers: list[int] = found.tolist()
    return numbers


class CheckedBatch(NamedTuple):
    """Warnings about the scale of the images, and lowest and highest label, (0, -1) if there are no labels."""

    warnings: list[str]
    label_range: tuple[int, int] = (0, -1)


def check_not_masked(value: object, name: str) -> None:
    """Raise DataError for a masked array of NumPy with masked values, which other libraries silently read as they lie there."""
    if isinstance(value, np.ma.MaskedArray) and (count := int(np.ma.getmaskarray(value).sum())):
        raise DataError(f"{name} must be whole, got an array with {count:,} masked values: pass array.filled(0), or leave them out")


def check_batch(
    x: Tensor, y: Tensor | None, *, bounds: PixelwiseBounds | None = PIXEL_BOUNDS, num_classes: int | None = None
) -> CheckedBatch:
    """Return warnings about the scale of the images (N, ...), and the range of the labels.

    Raises DataError unless x holds real floating-point images within the bounds, and y is None or one int64 label from 0 per image,
    below the number of classes if this is known. A GPU is waited for once.
    """
    if not x.is_floating_point():
        hint = "pass images.real" if x.is_complex() else "pass images.float()" if x.dtype == torch.bool else ""
        raise DataError(f"images must be floating point, got {x.dtype}: {hint or float_hint(x, uniform_bounds(bounds))}")
    if y is not None:
        check_label_form(y, len(x))
    if x.numel() == 0:
        return CheckedBatch([])
    low, high, *labels = _extremes(x, y)
    label_range = (0, -1)
    if y is not None:
        label_range = int(labels[0]), int(labels[1])
        check_label_range(y, label_range, num_classes)
    if bounds is None:
        return CheckedBatch([], label_range)
    if not isinstance(bounds, Bounds) or not bounds.is_uniform:
        _check_pixelwise(x, bounds)
        return CheckedBatch([], label_range)
    return CheckedBatch(check_range(x, low, high, bounds), label_range)


def _extremes(x: Tensor, y: Tensor | None) -> list[float]:
    """Return lowest and highest pixel, and label if there are labels, with one transfer from a GPU."""
    pixels = torch.aminmax(x)
    if x.device.type == "cpu":
        low, high = pixels.min.item(), pixels.max.item()
        if y is None:
            return [low, high]
        if len(y) <= FEW_LABELS:
            labels = y.tolist()
            return [low, high, min(labels), max(labels)]
        return [low, high, *(value.item() for value in y.aminmax())]
    found = [*pixels, *(() if y is None else y.aminmax())]
    numbers: list[float] = torch.stack([value.double() for value in found]).tolist()
    return numbers


def check_label_form(y: Tensor, count: int) -> None:
    """Raise DataError unless y is an int64 tensor of one label per image."""
    if y.shape == (count,) and y.dtype == torch.int64:
        return
    expected = f"labels must be integers of shape ({count},), one per image, got {y.dtype} of shape {tuple(y.shape)}"
    if y.ndim == 2 and y.shape == (count, 1):
        raise DataError(f"{expected}: pass labels[:, 0]")
    if y.ndim == 2 and len(y) == count:
        if bool((y.sum(1) == 1).all()) and bool(((y == 0) | (y == 1)).all()):
            raise DataError(f"{expected}, which are one-hot: pass labels.argmax(1)")
        if bool(((y == 0) | (y == 1)).all()):
            raise DataError(
                f"{expected}, which are multi-hot: pass loss='bce' if each label has a sigmoid, or loss='bce-with-logits' if "
                "it has a logit"
            )
        raise DataError(f"{expected}: pass one class index for each image, or a loss of your own that takes these labels")
    if y.shape != (count,):
        raise DataError(f"{expected}: pass one label for each of the {count} images, or a loss of your own that takes these labels")
    if y.is_floating_point() and not bool((y == y.round()).all()):
        raise DataError(f"{expected} with fractions: pass class indices, or a loss of your own that takes these labels")
    raise DataError(f"{expected}: pass torch.as_tensor(labels).long()")


def check_label_range(y: Tensor, label_range: tuple[int, int], num_classes: int | None) -> None:
    """Raise DataError unless the labels (N,), of a known range, are 0 to num_classes - 1; None if the number is unknown."""
    low, high = label_range
    if low >= 0 and (num_classes is None or high < num_classes):
        return
    top = "K" if num_classes is None else num_classes
    expected = f"labels must lie in [0, {top}), got {low} to {high}"
    if low < 0:
        if {*y.tolist()} == {-1, 1}:
            raise DataError(f"{expected}: {SIGNED_LABELS_REMEDY}")
        ignored = f"{low} marks images without a label: " if low in (-1, IGNORED_LABEL) else ""
        raise DataError(f"{expected}: {ignored}leave out images with labels < 0, as in images[labels >= 0] and labels[labels >= 0]")
    if low >= 1 and high == num_classes:
        raise DataError(f"{expected}: they count classes from 1, so pass labels - 1")
    raise DataError(f"{expected}: the model has {num_classes} outputs, so pass labels of its classes")


def check_label_rows(y: Tensor) -> None:
    """Raise DataError unless multi-hot labels (N, K) lie in [0, 1], 0 for a class that is not there and 1 for one that is."""
    outside = ~((y >= 0) & (y <= 1))
    if bool(outside.any()):
        raise DataError(
            f"multi-hot labels must lie in [0, 1], got {float(y[outside][0]):g}: pass (labels > 0).float() if positive numbers "
            "mean that a class is there, and leave out images without labels"
        )


def _check_pixelwise(x: Tensor, bounds: PixelwiseBounds) -> None:
    low, high = (torch.as_tensor(side).expand(x.shape) for side in limits_of(bounds, x))
    outside = ~((x >= low) & (x <= high))
    if bool(outside.any()):
        first, features = tuple(outside.nonzero()[0].tolist()), int(outside.flatten(1).any(0).sum())
        raise DataError(
            f"images must lie within bounds by feature, got {int(outside.sum()):,} values of {features:,} features outside, "
            f"first {float(x[first]):.7g} at {first}, whose bounds are [{float(low[first]):.7g}, {float(high[first]):.7g}]: "
            "pass wider bounds, or images.clamp(low, high)"
        )


def _device_of(model: object) -> torch.device:
    device = getattr(model, "device", None)
    if isinstance(device, torch.device):
        return device
    return network_device(model) if isinstance(model, nn.Module) else torch.device("cpu")


def native_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor of an array of numbers, without a copy if PyTorch can have its bytes, axes and memory as they are."""
    if not array.dtype.isnative or any(step < 0 for step in array.strides) or not array.flags.writeable:
        array = array.astype(array.dtype.newbyteorder("="), order="C", copy=True)
    return torch.from_numpy(array)


def _array_to_tensor(value: object, name: str, remedy: str) -> Tensor:
    """Return a tensor of an array, or of lists of numbers or of tensors; raise DataError, with the remedy, for another object."""
    check_not_masked(value, name)
    try:
        if isinstance(value, (list, tuple)) and value and all(isinstance(part, Tensor) for part in value):
            return torch.stack(list(value)).detach()
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise TypeError(f"array of {array.dtype}")
        if array.dtype.kind == "u" and array.dtype.itemsize > 1:
            array = array.astype(np.int64)
        return native_tensor(array)
    except (TypeError, ValueError, RuntimeError) as error:
        got = f"{type(value).__name__} ({first_line(error)})"
        raise DataError(f"{name} must be a tensor or an array of numbers, got {got}: {remedy}") from None
