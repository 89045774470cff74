"""Read JSON of unknown origin: its size, depth, keys, numbers and text are checked."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from robustbench_fgsm.errors import FileError, describe_error
from robustbench_fgsm.files.regular_files import read_bytes

MAX_BYTES = 2**28
"""Largest size of a JSON file."""

MAX_VALUES = 8_000_000
"""Largest number of values, each of which takes up to 100 bytes of memory."""

MAX_DEPTH = 64
MAX_INTEGER = 2**63


def read_json(file: Path, max_bytes: int = MAX_BYTES, *, follow_links: bool = False) -> dict[str, Any]:
    """Return the JSON object in a regular file.

    Raises:
        FileError: the file holds anything else, a key twice, a number that is not finite, or too much; or it is not a file.
        UnsafeError: the file is a symbolic link, and links are not followed.
        OSError: the file cannot be opened.
    """
    return parse_json(read_bytes(file, max_bytes, follow_links=follow_links), file)


def parse_json(content: bytes | str, source: object) -> dict[str, Any]:
    """Return the JSON object in a text; raise FileError, which names the source and the field, for anything else."""
    document = parse_json_value(content, source)
    if not isinstance(document, dict):
        _reject(source, "hold a JSON object", type(document).__name__)
    return document


def parse_json_value(content: bytes | str, source: object) -> Any:
    """Return the JSON value in a text, which need not be an object; raise as `parse_json` does."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
            _reject(source, f"hold at most {MAX_VALUES:,} values", "more")
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_reject_constant)
    except RecursionError:
        _reject(source, f"be nested at most {MAX_DEPTH} levels deep", "more")
    except ValueError as error:
        _reject(source, "be JSON", describe_error(error).partition(": ")[2], error)
    _check_values(value, source)
    return value


def _reject(source: object, expected: str, found: str, error: Exception | None = None) -> NoReturn:
    raise FileError(f"{source} must {expected}, got {found}: write it again, or choose another path") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:40]!r} twice")
    return found


def _reject_constant(text: str) -> NoReturn:
    raise ValueError(f"{text}, which is not JSON")


def _check_values(document: Any, source: object) -> None:
    waiting: list[tuple[Any, str, int]] = [(document if isinstance(document, dict | list) else [document], "", 1)]
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
