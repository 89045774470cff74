"""What every page is made of: templates, scripts, style and packed data."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.loaded_run import REPORTED_SCHEMAS, LoadedRun
from robustbench_fgsm.report.pages.command import reproduction_command
from robustbench_fgsm.report.tables.text import count_text, epsilon_text, rate_text

FEW_IMAGES = 1000
"""Images below which a page warns of wide intervals."""


def pack_json(content: Any) -> str:
    """Return content as compressed JSON in base64, which ends no HTML element and keeps a page of 1,000 classes small."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    return base64.b64encode(gzip.compress(text, 6, mtime=0)).decode()


def content_security_policy(script: str, style: str) -> str:
    """Return the content security policy: this script, this style, pictures inside the page, and nothing else."""
    return (
        f"default-src 'none'; script-src '{_csp_hash(script)}'; style-src '{_csp_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def jinja_environment() -> Environment:
    """Return the templates of pages, with their filters."""
    loader = PackageLoader("robustbench_fgsm.report", "assets")
    made = Environment(autoescape=True, undefined=StrictUndefined, loader=loader, trim_blocks=True, lstrip_blocks=True)
    filters: dict[str, Any] = {"epsilon": epsilon_text, "count": "{:,}".format, "split_interval": split_interval}
    filters |= {"interval": lambda rate: split_interval(rate_text(rate)), "plural": count_text, "contents": list_sections}
    made.filters |= filters
    return made


def split_interval(text: str) -> Markup:
    """Return a rate as HTML that may break before its interval and nowhere else."""
    value, bracket, interval = text.partition(" [")
    return Markup('{} <span class="ci">[{}</span>').format(value, interval) if bracket else Markup("{}").format(text)


def list_sections(results: Markup) -> list[tuple[str, Markup]]:
    """Return the id and the title of each section of a page."""
    found = re.findall(r'<h2 id="([^"]+)-title">([^<:]+)', results)
    return [(name, Markup(title.strip())) for name, title in found]  # noqa: S704  (escaped by the template)


def render_page(template: str, scripts: tuple[str, ...], content: Document, runs: Sequence[LoadedRun], **variables: Any) -> str:
    """Return the page that a template makes of some runs.

    Args:
        template: file name of the template.
        scripts: names of the scripts, in the order in which they need each other.
        content: what the scripts draw.
        runs: the runs that the page is about.
        **variables: other variables of the template.
    """
    script, style = (
        join_scripts(scripts),
        read_asset("page.css") + "".join(f".k{step}{{--strength:{5 * step}%}}" for step in range(21)),
    )
    return (
        jinja_environment()
        .get_template(template)
        .render(
            runs=runs,
            commands=[reproduction_command(run) for run in runs if run.document["schema"] in REPORTED_SCHEMAS],
            script=Markup(script),  # noqa: S704  (ours)
            style=Markup(style),  # noqa: S704
            policy=content_security_policy(script, style),
            data=pack_json(content),
            **variables,
        )
    )


def single_run_notices(document: Document, n: int, noun: str) -> dict[str, list[Any]]:
    """Return the invalid reasons and warnings at the top of a page of one run; n images of a kind carry its rates."""
    few = [f"only {n:,} {noun}: intervals are wide"] if 0 < n < FEW_IMAGES else []
    return {"reasons": document["invalid_reasons"], "gates": [], "warnings": [*document["warnings"], *few]}


@cache
def join_scripts(names: tuple[str, ...]) -> str:
    """Return scripts as one script that leaves no name behind."""
    parts = "\n".join(read_asset(f"{name}.js") for name in names)
    return f'"use strict";\n(() => {{\n{parts}\n}})();\n'


@cache
def read_asset(name: str) -> str:
    """Return the text of a file that pages are made of."""
    return files("robustbench_fgsm.report").joinpath("assets", name).read_text(encoding="utf-8")
