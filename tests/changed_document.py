"""A JSON document in which one value is replaced."""

from __future__ import annotations

import copy
from typing import Any


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Return a copy of a document with another value at a place such as `attacks.0.loss`."""
    broken = copy.deepcopy(document)
    *parents, last = (int(key) if key.isdecimal() else key for key in path.split("."))
    parent: Any = broken
    for key in parents:
        parent = parent[key]
    parent[last] = value
    return broken
