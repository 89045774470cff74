"""The page of a run that has one for itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.training import NAMES, kept_text
from robustbench_fgsm.report.documents.transfer import name_of
from robustbench_fgsm.report.loaded_run import Run
from robustbench_fgsm.report.pages.command import command
from robustbench_fgsm.report.pages.layout import FEW, asset, joined_script, packed, policy, templates
from robustbench_fgsm.report.tables.terminal import INTERVALS, LIMITS, epsilon_text


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


TRAINING_SCRIPTS = ("format", "document", "curves", "learning")


def training_page(run: Run) -> str:
    """The page of a training. The same run always gives the same page."""
    document = run.document
    watched = document["checks"][-1]["clean"] is not None
    budget = epsilon_text(document["recipe"]["epsilon"])
    labels = {name: label if name == "clean" else f"{label} at {budget}" for name, label in NAMES.items()}
    return single_page(
        "training.html.jinja",
        TRAINING_SCRIPTS,
        {"document": document, "labels": labels},
        (document["recipe"]["held_out"], "held-out images"),
        run=run,
        document=document,
        labels=labels,
        watched=watched,
        budget=budget,
        kept=kept_text(document),
        limits=[LIMITS, INTERVALS, _flattering(document["recipe"]["held_out"])] if watched else [],
    )


def _flattering(held_out: int) -> str:
    return (
        f"The best of many checks on {held_out:,} held-out images flatters: measure the network on the test images before "
        "you quote it."
    )


TRANSFER_SCRIPTS = ("format", "document", "crossing")


def transfer_page(run: Run) -> str:
    """The page of a transfer. The same run always gives the same page."""
    document = run.document
    names = [name_of(model) for model in document["models"]]
    content = {
        "document": document,
        "names": names,
        "epsilon_texts": [epsilon_text(epsilon) for epsilon in document["attack"]["epsilons"]],
    }
    return single_page(
        "transfer.html.jinja",
        TRANSFER_SCRIPTS,
        content,
        (document["n"], "images"),
        run=run,
        document=document,
        names=names,
        sides=[_sides(document, place) for place in range(len(names))],
        fair=fair_images(document),
        shared=_shared(document),
        limits=[*_denominators(document), LIMITS, INTERVALS],
    )


def fair_images(document: Document) -> str:
    """Which images a success rate speaks of."""
    return "right before" if document["attack"]["targeted"] == "none" else "off target"


def _shared(document: Document) -> bool:
    return all(at["common_success_rate"] is not None for cell in document["cells"] for at in cell["epsilons"])


def _sides(document: Document, place: int) -> str:
    return ", ".join(side for side in ("source", "target") if place in document[f"{side}s"])


def _denominators(document: Document) -> Iterator[str]:
    fair = fair_images(document)
    yield (
        f"Robust accuracy is over all images. Attack success is over the images {fair} at both source and target, so its n "
        "differs from cell to cell."
    )
    yield (
        "A low success from another network is not robustness: only where source and target are one is the network itself "
        "attacked."
    )
