"""Validation, by pydantic, of values that were read from a file: an error is one line that names the field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from robustbench_fgsm.errors import RfgsmError
from robustbench_fgsm.printable_text import printable

SHOWN_CHARACTERS = 60


class FileSchema(BaseModel):
    """Schema of a JSON object in a file: no value is converted, numbers are finite, and unknown keys are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


Schema = TypeVar("Schema", bound=BaseModel)


def validate(schema: type[Schema], value: object, source: object, error: type[RfgsmError], remedy: str) -> Schema:
    """Return the value as an instance of its schema; raise the error, which names source and field, if the value does not fit.

    Args:
        schema: what the file must hold.
        value: what the file holds, from JSON.
        source: name of the file, for the message.
        error: class of the exception.
        remedy: what to do, for the message.
    """
    try:
        return schema.model_validate(value)
    except ValidationError as found:
        raise error(_describe(found, value, source, remedy)) from None


def _describe(error: ValidationError, value: object, source: object, remedy: str) -> str:
    """Return the line for the first wrong field."""
    first = error.errors(include_url=False)[0]
    shown = repr(first["input"])
    shown = shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[: SHOWN_CHARACTERS - 1]}…"
    reason = first["msg"].removeprefix("Value error, ")
    missing = first["type"] == "missing"
    field = ".".join(_keys(value, first["loc"], missing=missing)) or "content"
    found = "none" if missing else f"{shown} ({reason[:1].lower()}{reason[1:]})"
    return f"{source} must have a valid {field}, got {found}: {remedy}"


def _keys(value: Any, place: tuple[int | str, ...], *, missing: bool) -> Iterator[str]:
    """Yield the keys of a place in the value, without the names of alternative types, which pydantic puts between them."""
    for index, key in enumerate(place):
        inside = isinstance(value, dict) and key in value
        if inside or (isinstance(value, list) and isinstance(key, int)):
            value = value[key]
        elif not (missing and index == len(place) - 1):
            continue
        yield printable(str(key)[:SHOWN_CHARACTERS])
