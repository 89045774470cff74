"""The page of a run that has one for itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, LIMITATION_NOTE
from robustbench_fgsm.report.documents.training import ACCURACY_LABELS, kept_weights_text
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.command import reproduction_command
from robustbench_fgsm.report.pages.layout import (
    FEW_IMAGES,
    content_security_policy,
    jinja_environment,
    join_scripts,
    pack_json,
    read_asset,
)
from robustbench_fgsm.report.tables.text import epsilon_text, model_text, success_denominator


def build_single_page(
    template: str,
    scripts: tuple[str, ...],
    script_data: Document,
    image_count: tuple[int, str],
    *,
    run: LoadedRun,
    **template_variables: Any,
) -> str:
    """The page that a template makes of one run.

    scripts: of its own, in order; content: what they get. counted: images that its rates rest on, and what these are called.
    """
    script, style = join_scripts(scripts), read_asset("page.css")
    return (
        jinja_environment()
        .get_template(template)
        .render(
            **template_variables,
            run=run,
            command=reproduction_command(run),
            warnings=list(_single_page_warnings(run.document, *image_count)),
            script=Markup(script),  # noqa: S704  (ours)
            style=Markup(style),  # noqa: S704
            policy=content_security_policy(script, style),
            packed=pack_json(script_data),
        )
    )


def _single_page_warnings(document: Document, n: int, noun: str) -> Iterator[str]:
    yield from document["warnings"]
    if 0 < n < FEW_IMAGES:
        yield f"only {n:,} {noun}: intervals are wide"


TRAINING_SCRIPTS = ("format", "document", "curves", "learning")


def training_page(run: LoadedRun) -> str:
    """The page of a training. The same run always gives the same page."""
    document = run.document
    watched = document["checks"][-1]["clean"] is not None
    budget = epsilon_text(document["recipe"]["epsilon"])
    labels = {name: label if name == "clean" else f"{label} at {budget}" for name, label in ACCURACY_LABELS.items()}
    return build_single_page(
        "training.html.jinja",
        TRAINING_SCRIPTS,
        {"document": document, "labels": labels},
        (document["recipe"]["held_out"], "held-out images"),
        run=run,
        document=document,
        labels=labels,
        watched=watched,
        budget=budget,
        kept=kept_weights_text(document),
        limits=[LIMITATION_NOTE, INTERVAL_NOTE, _selection_bias_note(document["recipe"]["held_out"])] if watched else [],
    )


def _selection_bias_note(held_out: int) -> str:
    return (
        f"The best of many checks on {held_out:,} held-out images flatters: measure the network on the test images before "
        "you quote it."
    )


TRANSFER_SCRIPTS = ("format", "document", "crossing")


def transfer_page(run: LoadedRun) -> str:
    """The page of a transfer. The same run always gives the same page."""
    document = run.document
    names = [model_text(model) for model in document["models"]]
    content = {
        "document": document,
        "names": names,
        "epsilon_texts": [epsilon_text(epsilon) for epsilon in document["attack"]["epsilons"]],
    }
    return build_single_page(
        "transfer.html.jinja",
        TRANSFER_SCRIPTS,
        content,
        (document["n"], "images"),
        run=run,
        document=document,
        names=names,
        sides=[_model_roles(document, place) for place in range(len(names))],
        fair=success_denominator(document["attack"]),
        shared=_has_common_success(document),
        limits=[*_denominator_notes(document), LIMITATION_NOTE, INTERVAL_NOTE],
    )


def _has_common_success(document: Document) -> bool:
    return all(at["common_success_rate"] is not None for cell in document["cells"] for at in cell["epsilons"])


def _model_roles(document: Document, place: int) -> str:
    return ", ".join(side for side in ("source", "target") if place in document[f"{side}s"])


def _denominator_notes(document: Document) -> Iterator[str]:
    fair = success_denominator(document["attack"])
    yield (
        f"Robust accuracy is over all images. Attack success is over the images {fair} at both source and target, so its n "
        "differs from cell to cell."
    )
    yield (
        "A low success from another network is not robustness: only where source and target are one is the network itself attacked."
    )
