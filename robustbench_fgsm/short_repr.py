"""Short text of an object for a notebook: its facts, without the content of arrays."""

from __future__ import annotations

import reprlib
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

MAX_LENGTH = 400
MAX_VALUE_LENGTH = 60


class _ShortValue(reprlib.Repr):
    """Text of one value: arrays by type and shape, long sequences by their first entries and their length."""

    def repr1(self, x: Any, level: int) -> str:
        if hasattr(x, "shape") and hasattr(x, "dtype"):
            return f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}"
        if callable(x) and hasattr(x, "__name__"):
            return str(x.__name__)
        if isinstance(x, tuple | list | dict | set | frozenset) and len(x) > self.maxtuple:
            return f"<{len(x):,} entries>"
        return super().repr1(x, level)


_VALUE = _ShortValue()
_VALUE.maxstring = _VALUE.maxother = _VALUE.maxlong = MAX_VALUE_LENGTH


def short_repr(thing: Any, **facts: object) -> str:
    """Return the name of the class, and facts as keywords; for a dataclass, by default, the fields that differ from their default.

    The text has 400 characters at most. An array is shown as its type and shape.
    """
    if not facts and is_dataclass(thing):
        shown = [one for one in fields(thing) if one.repr and not _is_default(one, getattr(thing, one.name))]
        facts = {one.name: getattr(thing, one.name) for one in shown}
    text = ", ".join(f"{name}={_VALUE.repr(value)}" for name, value in facts.items())
    text = f"{type(thing).__name__}({text})"
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 2]}…)"


def _is_default(one: Field[Any], value: object) -> bool:
    default = one.default_factory() if one.default_factory is not MISSING else one.default
    return default is value or (type(default) is type(value) and isinstance(value, str | int | float | tuple) and default == value)
