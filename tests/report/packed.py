"""The content that a page holds, as its scripts unpack it."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any


def unpack_json(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))
