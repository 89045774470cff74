"""Read JSON that somebody else may have written: its size, depth, keys, numbers and text are checked."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from robustbench_fgsm.errors import RunError, describe_error
from robustbench_fgsm.runs.regular_files import read_bytes

MAX_BYTES = 2**28
"""Largest size of a JSON file."""

MAX_VALUES = 8_000_000
"""Largest number of values, each of which takes up to 100 bytes of memory."""

MAX_DEPTH = 64
MAX_INTEGER = 2**63


def read_json(file: Path) -> dict[str, Any]:
    """Return the JSON object in a regular file.

    Raises:
        RunError: the file holds anything else, a key twice, a number that is not finite, or too much; or it is not a file.
        UnsafeError: the file is a symbolic link.
    """
    return parse_json(read_bytes(file, MAX_BYTES), file)


def parse_json(content: bytes, source: object) -> dict[str, Any]:
    """Return the JSON object in these bytes; raise RunError, which names the source and the field, for anything else."""
    if content.count(b",") + content.count(b"[") + content.count(b"{") > MAX_VALUES:
        _reject(source, f"hold at most {MAX_VALUES:,} values", "more")
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_reject_constant)
    except RecursionError:
        _reject(source, f"be nested at most {MAX_DEPTH} levels deep", "more")
    except ValueError as error:
        _reject(source, "be JSON", describe_error(error).partition(": ")[2], error)
    if not isinstance(document, dict):
        _reject(source, "hold a JSON object", type(document).__name__)
    _check_values(document, source)
    return document


def _reject(source: object, expected: str, found: str, error: Exception | None = None) -> NoReturn:
    raise RunError(f"{source} must {expected}, got {found}: choose another directory") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:40]!r} twice")
    return found


def _reject_constant(text: str) -> NoReturn:
    raise ValueError(f"{text}, which is not JSON")


def _check_values(document: dict[str, Any], source: object) -> None:
    waiting: list[tuple[Any, str, int]] = [(document, "", 1)]
    while waiting:
        parent, place, depth = waiting.pop()
        if depth > MAX_DEPTH:
            _reject(source, f"be nested at most {MAX_DEPTH} levels deep", "more")
        for key, value in parent.items() if isinstance(parent, dict) else enumerate(parent):
            if isinstance(value, dict | list):
                waiting.append((value, f"{place}{key}.", depth + 1))
            elif isinstance(value, float) and not math.isfinite(value):
                _reject(source, "hold finite numbers", f"{value} in {place}{key}")
            elif isinstance(value, int) and not -MAX_INTEGER <= value < MAX_INTEGER:
                _reject(source, "hold integers of 64 bits", f"a larger one in {place}{key}")
            elif isinstance(value, str) and not _is_text(value):
                _reject(source, "hold text", f"half a character in {place}{key}")


def _is_text(value: str) -> bool:
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False
