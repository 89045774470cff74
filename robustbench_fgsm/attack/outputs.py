"""What a network returns, read as logits (N, K), and the kind of these numbers: the one place that does both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from robustbench_fgsm.attack.clip import PixelwiseBounds, limits_of
from robustbench_fgsm.attack.losses import MULTI_LABEL_LOSSES, get_loss
from robustbench_fgsm.attack.network_call import widen_outputs
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.spec import is_multi_label

AnyModel = TypeVar("AnyModel")
Column = Literal["logit", "probability", "log-probability"]
"""What the one output of a binary network says of the second class."""

OutputKind = Literal["logits", "probabilities", "log-probabilities", "one sigmoid", "sigmoids"]

NOISE_IMAGES = 16
"""Images of noise, within the bounds and beyond them, on which outputs in [0, 1] are looked at once more."""

NOISE_RANGE = 1000.0
"""Noise beyond the bounds lies within this multiple of their distance from 0."""

COLUMN_OF_LOSS: dict[str, Column] = {"probabilities": "probability", "bce": "probability", "log-probabilities": "log-probability"}
"""How a loss reads the one output of a binary network, by the loss' name; other losses read a logit."""


@dataclass(frozen=True)
class OutputReader:
    """Function from what `forward` returned for N images to logits (N, K), K >= 2.

    Args:
        num_classes: number of classes K; None if unknown.
        column: what the one output of a binary network is.
    """

    num_classes: int | None = None
    column: Column = "logit"

    def __call__(self, returned: object, n: int) -> Tensor:
        """Return the logits (n, K): a tensor (n, K) unchanged, and the one output of a binary network as two columns.

        The logits are found in a tensor, or in a mapping, tuple, list, dataclass or object: the field `logits`, or else the only
        tensor of a fitting shape, or else the first entry of a tuple. Axes of length 1 and a missing axis of one image do not
        matter.

        16-bit and 8-bit numbers become float32.

        Raises:
            ModelError: nothing or several things could be the logits, their shape does not fit n and K, or they are integers or
                hold no data.
        """
        found = self._find(returned, n)
        if found is None:
            raise ModelError(self._describe_failure(returned, n))
        found = widen_outputs(found)
        if not found.is_floating_point():
            raise ModelError(
                f"model must return floating-point logits, got {describe_value(returned)}: "
                "return the numbers before argmax or rounding"
            )
        if found.is_meta:
            raise ModelError(f"model must return logits with data, got {describe_value(returned)} on device meta: load its weights")
        if found.shape[1] == 1 and self.num_classes in (None, 2):
            return two_columns(found, self.column)
        if self.num_classes not in (None, found.shape[1]):
            raise ModelError(self._describe_failure(returned, n))
        return found

    def _find(self, returned: object, n: int) -> Tensor | None:
        """Return the one tensor (n, k) that can be the logits; None if there is none, or more than one."""
        if isinstance(returned, Tensor):
            return _as_rows(returned, n)
        entries = read_fields(returned)
        if "logits" in entries:
            return self._find(entries["logits"], n)
        if len(entries) > 1:  # beside tensors of floats, a number is a loss, and integers are predictions
            entries = {name: entry for name, entry in entries.items() if not isinstance(entry, Tensor) or _may_be_logits(entry)}
        found = {name: rows for name, entry in entries.items() if (rows := self._find(entry, n)) is not None}
        for width in (self.num_classes, 1 if self.num_classes == 2 else None):
            fitting = {name: rows for name, rows in found.items() if rows.shape[1] == width}
            if fitting:
                found = fitting
                break
        first = next(iter(found), "")
        starts = isinstance(returned, tuple | list) and first in list(entries)[:1]
        return found[first] if len(found) == 1 or (starts and _first_is_clear(found, ensemble=isinstance(returned, list))) else None

    def _describe_failure(self, returned: object, n: int) -> str:
        classes = "K" if self.num_classes is None else str(self.num_classes)
        expected = f"model must return logits ({n}, {classes}) for {n} image{'s' * (n != 1)}, got {describe_value(returned)}"
        if not isinstance(returned, Tensor):
            inner = read_fields(returned).get("logits")
            return f"{expected}: {_remedy_of_fields(returned, n)}" if inner is None else self._describe_failure(inner, n)
        rows = _as_rows(returned, n)
        if rows is not None and self.num_classes is not None:
            width = max(rows.shape[1], 2)
            return (
                f"{expected}: its classes are {width}, so pass num_classes={width} (--num-classes {width}), or fix its last layer"
            )
        if returned.ndim > 2 and len(returned) == n:
            return f"{expected}: pool over the other axes, or pass a loss of your own to rf.fgsm, for example for a segmentation"
        return f"{expected}: keep the first axis, one row for each image"


def _first_is_clear(found: Mapping[str, Tensor], *, ensemble: bool) -> bool:
    """Return True if the first tensor has the fewest columns, as logits beside features have, and is not one column of several.

    ensemble: tensors of equal widths may be outputs of several networks, none of which is the answer.
    """
    first, *others = (rows.shape[1] for rows in found.values())
    return first < min(others) if first == 1 or ensemble else first <= min(others)


def read_fields(returned: object) -> dict[str, Any]:
    """Return the entries of a container by name, without those that are None; empty if it is no container."""
    if not isinstance(returned, Mapping) and getattr(returned, "logits", None) is not None:
        return {"logits": returned.logits}  # type: ignore[attr-defined]
    if isinstance(returned, Mapping):
        entries = {str(key): value for key, value in returned.items()}
    elif hasattr(returned, "_asdict"):
        entries = returned._asdict()
    elif isinstance(returned, tuple | list):
        entries = {str(index): value for index, value in enumerate(returned)}
    elif is_dataclass(returned):
        entries = {field.name: getattr(returned, field.name) for field in fields(returned)}
    else:
        entries = dict(getattr(returned, "__dict__", {}))
    return {name: value for name, value in entries.items() if value is not None}


def _may_be_logits(entry: Tensor) -> bool:
    return entry.ndim > 0 and entry.is_floating_point()


def _as_rows(outputs: Tensor, n: int) -> Tensor | None:
    """Return outputs as (n, k), without axes of length 1; None if they are not one row for each image."""
    outputs = outputs if outputs.layout == torch.strided else outputs.to_dense()
    if outputs.ndim == 2 and len(outputs) == n:
        return outputs
    if n == 1 and outputs.ndim != 2 and outputs.numel() == max(outputs.shape, default=1):  # the axis of one image is squeezed
        return outputs.reshape(1, -1)
    if outputs.ndim and len(outputs) == n and outputs.shape[1:].numel() == max(outputs.shape[1:], default=1):
        return outputs.reshape(n, max(outputs.shape[1:], default=1))
    return None


def describe_value(returned: object) -> str:
    """Return the shape of a tensor, or type and shapes of the entries of a container."""
    if isinstance(returned, Tensor):
        kind = "" if returned.is_floating_point() else f"{str(returned.dtype).removeprefix('torch.')} of shape "
        return f"{kind}{tuple(returned.shape)}"
    names = {name: f"[{name}]" if name.isdecimal() else name for name in read_fields(returned)}
    shapes = [f"{names[name]} {_shape_text(value)}" for name, value in read_fields(returned).items()]
    return type(returned).__name__ + (f" with {', '.join(shapes[:8])}" if shapes else "")


def _shape_text(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _remedy_of_fields(returned: object, n: int) -> str:
    entries = read_fields(returned)
    tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    if not tensors:
        return "return a tensor of logits"
    if isinstance(returned, tuple | list) and len(tensors) > 1 and all(value.ndim == 1 for value in tensors.values()):
        return f"return one tensor, for example torch.stack(forward(x){', 1' * (len(tensors) != n)})"
    name = next(iter(tensors))
    access = f"[{name!r}]" if isinstance(returned, Mapping) else f"[{name}]" if name.isdecimal() else f".{name}"
    return f"return the logits alone, for example forward(x){access}"


def two_columns(output: Tensor, column: Column) -> Tensor:
    """Return the one output (N, 1) of a binary network as two columns of its kind: logits, probabilities or log-probabilities."""
    if column == "probability":
        return torch.cat([1 - output, output], 1)
    if column == "log-probability":
        return torch.cat([torch.log(-torch.expm1(output)), output], 1)
    return torch.cat([torch.zeros_like(output), output], 1)


def reader_of_loss(loss: str) -> OutputReader:
    """Return the reader of a network whose number of classes is unknown, for the loss of that name."""
    return OutputReader(column=COLUMN_OF_LOSS.get(loss, "logit"))


def read_for_loss(model: AnyModel, loss: object) -> AnyModel:
    """Return the classifier that reads its outputs as the loss of that name does; other models unchanged.

    The loss says what the one output of a binary network is, and at which threshold an output of a multi-label network counts.
    """
    if not isinstance(loss, str) or not hasattr(model, "with_column"):
        return model
    if is_multi_label(model) and loss in MULTI_LABEL_LOSSES and hasattr(model, "with_own_loss"):
        multi_label: AnyModel = model.with_own_loss(get_loss(loss))
        return multi_label
    read: AnyModel = model.with_column(COLUMN_OF_LOSS.get(loss, "logit"))
    return read


def brings_own_loss(model: object) -> bool:
    """Return True if loss `ce` stands for the classifier's own loss."""
    return not getattr(model, "any_loss", True)


def predict_noise(predict: Callable[[Tensor], Tensor], x: Tensor, bounds: PixelwiseBounds | None) -> Tensor:
    """Return the outputs (M, K) on images of uniform noise in the shape of x (N, ...), N at a time, without NaN and infinity.

    Half of the noise lies within the bounds, and half far beyond them, where logits leave [0, 1] and sigmoids do not.
    """
    generator = torch.Generator(x.device).manual_seed(0)
    limits = limits_of(bounds, x) if bounds is not None else (-math.inf, math.inf)
    low, high = (torch.as_tensor(side, dtype=x.dtype, device=x.device) for side in limits)
    if not bool((high - low).isfinite().all()):
        low, high = x.aminmax()
    far = NOISE_RANGE * (high - low)
    found = []
    for lowest, highest in ((low, high), (-far, far)):
        for _ in range(-(-NOISE_IMAGES // len(x))):
            noise = torch.empty_like(x).uniform_(generator=generator).mul_(highest - lowest).add_(lowest)
            try:
                found.append(predict(noise))
            except ModelError:  # a network may refuse such images
                break
    outputs = torch.cat(found) if found else x.new_empty(0, 1)
    return outputs[outputs.isfinite().all(1)]


def kind_of_outputs(outputs: Tensor, more: Callable[[], Tensor] | None = None) -> OutputKind:
    """Return what the numbers (N, K) of a network are.

    Args:
        outputs: as `OutputReader` returns them, with one output of a binary network read as a logit.
        more: outputs (M, K) on other images, to distinguish numbers in [0, 1] from logits that lie there by chance.

    Returns:
        `probabilities` or `log-probabilities` if all rows are normalised so; `one sigmoid` or `sigmoids` if all numbers lie in
        [0, 1]; else `logits`.
    """
    low, high = map(float, outputs.detach().aminmax()) if outputs.numel() else (0.0, 0.0)
    if -math.inf < low < 0 < high < math.inf:
        return "logits"
    outputs = outputs[outputs.amax(1).isfinite()] if outputs.numel() else outputs  # others are counted apart
    if not outputs.numel():
        return "logits"
    exact, tolerance = outputs.double(), max(1e-4, 4 * _resolution(outputs))  # a rounded log-probability is off by several units
    if bool((exact >= 0).all()) and bool(((exact.sum(1) - 1).abs() < tolerance).all()):
        return "probabilities"
    if bool((exact <= 0).all()) and bool((exact.logsumexp(1).abs() < tolerance).all()):
        return "log-probabilities"
    own = exact[:, 1:] if is_one_output(exact) else exact
    if not lie_in_unit_interval(own):
        return "logits"
    others = own[:0] if more is None else more()[:, -own.shape[1] :]
    if not lie_in_unit_interval(others):
        return "logits"
    if not any(bool((numbers != own[0, 0]).any()) for numbers in (own, others)):
        return "logits"  # a network without weights returns equal numbers
    return "one sigmoid" if is_one_output(exact) else "sigmoids"


def _resolution(outputs: Tensor) -> float:
    """Return the relative rounding error of outputs that are 16-bit numbers, also as float32; 0 for other outputs."""
    rounded = (dtype for dtype in (torch.float16, torch.bfloat16) if torch.equal(outputs.to(dtype).to(outputs), outputs))
    return max((torch.finfo(dtype).eps for dtype in rounded), default=0.0)


def is_one_output(outputs: Tensor) -> bool:
    """Return True if the two columns (N, 2) are those of one logit."""
    return outputs.shape[1] == 2 and bool((outputs[:, 0] == 0).all())


def lie_in_unit_interval(outputs: Tensor) -> bool:
    """Return True if all numbers lie in [0, 1]."""
    return bool(((outputs >= 0) & (outputs <= 1)).all())


ACCEPTED_KINDS: dict[str, tuple[OutputKind, ...]] = {
    "ce": ("logits", "log-probabilities"),
    "log-probabilities": ("log-probabilities",),
    "probabilities": ("probabilities",),
    "bce": ("sigmoids", "one sigmoid", "probabilities"),
    "bce-with-logits": ("logits", "log-probabilities"),
    "margin": ("logits", "log-probabilities", "probabilities", "sigmoids"),
}
"""Kinds of outputs for which a loss is right, by the loss' name. `logits` is not checked: the user declares them."""

DECLARED_OUTPUTS = tuple(loss for loss, kinds in ACCEPTED_KINDS.items() if "logits" not in kinds)
"""Losses whose use says what the outputs are."""

_FOUND = {
    "probabilities": "probabilities (non-negative, each row sums to 1)",
    "one sigmoid": "one sigmoid (all outputs in [0, 1])",
    "sigmoids": "a sigmoid for each class (all outputs in [0, 1], rows do not sum to 1)",
}
_LAST_LAYER = {"probabilities": "softmax", "one sigmoid": "sigmoid", "sigmoids": "sigmoids", "log-probabilities": "log-softmax"}
_LOSS_OF_KIND = {
    "logits": "ce",
    "probabilities": "probabilities",
    "log-probabilities": "log-probabilities",
    "one sigmoid": "probabilities",
    "sigmoids": "bce",
}


def check_outputs(outputs: Tensor, loss: str, more: Callable[[], Tensor] | None = None) -> list[str]:
    """Return a warning if the loss `ce` gets log-probabilities (N, K), which do not change its result.

    Args:
        outputs: (N, K).
        loss: name of the loss.
        more: as in `kind_of_outputs`.

    Raises:
        ModelError: the outputs are of another kind than the loss takes: probabilities or sigmoids under `ce`, where softmax would
            be applied twice, or logits under `probabilities` or `bce`.
    """
    accepted = ACCEPTED_KINDS.get(loss)
    if accepted is None:
        return []
    kind = kind_of_outputs(outputs, more)
    if kind in accepted:
        if loss == "ce" and kind == "log-probabilities":
            return ["the model returns log-probabilities, which loss ce takes for logits: the result is the same"]
        return []
    got, own = _FOUND.get(kind, kind), _LOSS_OF_KIND[kind]
    if "logits" not in accepted:
        own = "bce-with-logits" if (loss, kind) == ("bce", "logits") and outputs.shape[1] > 2 else own
        raise ModelError(f"model must return {accepted[0]} for loss {loss}, got {got}: use --loss {own} (loss={own!r})")
    raise ModelError(
        f"model must return logits for loss {loss}, got {got}: remove its {_LAST_LAYER[kind]}, or use --loss {own} "
        f"(loss={own!r}) in a command that has it; if these are logits, use --loss logits there"
    )
