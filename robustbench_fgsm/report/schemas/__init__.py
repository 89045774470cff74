"""JSON schemas (draft 2020-12) of the documents that the commands print."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

from robustbench_fgsm.errors import SettingError, did_you_mean

SCHEMA_SUFFIX = ".schema.json"
SCHEMA_REFERENCE = re.compile(r'"urn:rfgsm:schema:([\w-]+)#')


def schema_names() -> list[str]:
    """Return the names of all schemas, sorted."""
    return sorted(file.name.removesuffix(SCHEMA_SUFFIX) for file in files(__name__).iterdir() if file.name.endswith(SCHEMA_SUFFIX))


def load_schema(name: str) -> dict[str, Any]:
    """Return a schema, such as `evaluation`, with the schemas that it refers to under `$defs`.

    Raises SettingError for an unknown name.
    """
    names = schema_names()
    if name not in names:
        raise SettingError(f"schema must be one of {', '.join(names)}, got {name!r}: {did_you_mean(name, names)}")
    texts, needed = {name: _read_schema(name)}, [name]
    while needed:
        for other in SCHEMA_REFERENCE.findall(texts[needed.pop()]):
            if other not in texts:
                texts[other] = _read_schema(other)
                needed.append(other)
    schema: dict[str, Any] = json.loads(texts.pop(name))
    return schema | {"$defs": schema.get("$defs", {}) | {other: json.loads(text) for other, text in texts.items()}}


def _read_schema(name: str) -> str:
    return (files(__name__) / f"{name}{SCHEMA_SUFFIX}").read_text(encoding="utf-8")
