"""What every page is made of: templates, scripts, style and packed data."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.reported_attacks import ReportedAttack
from robustbench_fgsm.report.tables.text import epsilon_text, rate_text, starts_text

FEW_IMAGES = 1000
"""Images below which a page warns of wide intervals."""


def pack_json(content: Any) -> str:
    """JSON, compressed, in letters that end no element; so a page of 1,000 classes stays small."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    return base64.b64encode(gzip.compress(text, 6, mtime=0)).decode()


def unpack_json(text: str) -> Any:
    """Return the content that `pack_json` packed."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


def content_security_policy(script: str, style: str) -> str:
    """The content security policy: this script, this style, pictures inside the page, and nothing else."""
    return (
        f"default-src 'none'; script-src '{_csp_hash(script)}'; style-src '{_csp_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def jinja_environment() -> Environment:
    """The templates of pages, with their filters."""
    loader = PackageLoader("robustbench_fgsm.report", "assets")
    made = Environment(autoescape=True, undefined=StrictUndefined, loader=loader, trim_blocks=True, lstrip_blocks=True)
    filters: dict[str, Any] = {"epsilon": epsilon_text, "count": "{:,}".format, "rate": rate_text, "starts": starts_text}
    made.filters |= filters
    made.globals["sides"] = _epsilon_table_rows
    return made


def _epsilon_table_rows(subject: ReportedAttack) -> Iterator[tuple[str, str, Document]]:
    """Path, budget with the kind of gradient, and what was found, for each row of a table by budget."""
    for place, at in enumerate(subject.evaluation["epsilons"]):
        yield f"epsilons/{place}/", epsilon_text(at["epsilon"]), at
        if "stable" in at:
            yield f"epsilons/{place}/stable/", f"{epsilon_text(at['epsilon'])}, stable", at["stable"]


@cache
def join_scripts(names: tuple[str, ...]) -> str:
    """These parts as one script that leaves no name behind."""
    parts = "\n".join(read_asset(f"{name}.js") for name in names)
    return f'"use strict";\n(() => {{\n{parts}\n}})();\n'


@cache
def read_asset(name: str) -> str:
    """The text of a file that pages are made of."""
    return files("robustbench_fgsm.report").joinpath("assets", name).read_text(encoding="utf-8")
