"""The page of a run that has one for itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.loaded_run import Run
from robustbench_fgsm.report.pages.command import command
from robustbench_fgsm.report.pages.layout import FEW, asset, joined_script, packed, policy, templates


def single_page(
    template: str, scripts: tuple[str, ...], content: Document, counted: tuple[int, str], *, run: Run, **parts: Any
) -> str:
    """The page that a template makes of one run.

    scripts: of its own, in order; content: what they get. counted: images that its rates rest on, and what these are called.
    """
    script, style = joined_script(scripts), asset("page.css")
    return (
        templates()
        .get_template(template)
        .render(
            **parts,
            run=run,
            command=command(run),
            warnings=list(_warnings(run.document, *counted)),
            script=Markup(script),  # noqa: S704  (ours)
            style=Markup(style),  # noqa: S704
            policy=policy(script, style),
            packed=packed(content),
        )
    )


def _warnings(document: Document, n: int, noun: str) -> Iterator[str]:
    yield from document["warnings"]
    if 0 < n < FEW:
        yield f"only {n:,} {noun}: intervals are wide"
