"""Numbers of the features of an image: one number for all, or nested tuples that broadcast to one image; no torch, no NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from robustbench_fgsm.errors import SettingError

FeatureValues = float | tuple["FeatureValues", ...]
"""One number, or rows of a rectangular array: a vector has one number per feature of a table, or per channel of an image."""


class HasToList(Protocol):
    """Array or tensor of numbers, of any library."""

    def tolist(self) -> Any:
        """Return the numbers as nested lists."""


FeatureArray = float | Sequence[Any] | HasToList
"""Numbers of features as users have them: one number, a nested list, an array or a tensor."""

StoredNumber = float | None
StoredValues = (
    StoredNumber
    | list[StoredNumber]
    | list[list[StoredNumber]]
    | list[list[list[StoredNumber]]]
    | list[list[list[list[StoredNumber]]]]
)
"""What `values_to_json` writes, for schemas of files: arrays have one to four axes."""

MAX_VALUES = 1_000_000
"""Numbers that a setting may hold: each run stores them in its manifest."""


def parse_feature_values(name: str, value: object, remedy: str) -> FeatureValues:
    """Return a number, a nested list, an array or a tensor as plain numbers.

    Raises SettingError, with the remedy, for text, for NaN, for no number at all, and for rows of different lengths.
    """
    if hasattr(value, "shape") and (count := math.prod(value.shape)) > MAX_VALUES:
        raise SettingError(f"{name} must hold at most {MAX_VALUES:,} numbers, got {count:,}: pass one for each feature")
    try:
        found = _to_tuples(value)
        shape = values_shape(found)
    except (TypeError, ValueError, RuntimeError):
        raise SettingError(f"{name} must be one number, or one for each feature, got {value!r:.60}: {remedy}") from None
    if 0 in shape or any(map(math.isnan, iter_values(found))):
        raise SettingError(f"{name} must be numbers, got {'none' if 0 in shape else 'NaN'}: {remedy}")
    return found


def _to_tuples(value: Any) -> FeatureValues:
    """Return nested sequences as tuples; raise TypeError or ValueError for anything but real numbers in them."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(map(_to_tuples, value))
    if isinstance(value, str | bytes | bool):
        raise TypeError(type(value).__name__)
    return float(value)


def values_shape(values: FeatureValues) -> tuple[int, ...]:
    """Return the shape of the array, () for one number; raise ValueError if rows have different shapes."""
    if not isinstance(values, tuple):
        return ()
    inner = {values_shape(row) for row in values}
    if len(inner) > 1:
        raise ValueError("rows of different shapes")
    return (len(values), *next(iter(inner), ()))


def iter_values(values: FeatureValues) -> Iterator[float]:
    """Yield all numbers, in the order of the flat array."""
    if isinstance(values, tuple):
        for row in values:
            yield from iter_values(row)
    else:
        yield values


def map_values(function: Callable[..., float], *arguments: FeatureValues) -> FeatureValues:
    """Return the function of each number of arrays of one shape; a single number stands for a whole array."""
    length = next((len(values) for values in arguments if isinstance(values, tuple)), None)
    if length is None:
        return function(*arguments)
    rows = [values if isinstance(values, tuple) else (values,) * length for values in arguments]
    return tuple(map_values(function, *row) for row in zip(*rows, strict=True))


def values_to_json(values: FeatureValues) -> Any:
    """Return numbers and nested lists; null stands for an infinite number."""
    if isinstance(values, tuple):
        return [values_to_json(row) for row in values]
    return values if math.isfinite(values) else None


def values_from_json(values: Any, infinite: float) -> FeatureValues:
    """Return what `values_to_json` wrote, with `infinite` in place of null; raise TypeError or ValueError for anything else."""
    if isinstance(values, list):
        found = tuple(values_from_json(row, infinite) for row in values)
        values_shape(found)
        return found
    return infinite if values is None else _to_tuples(values)
