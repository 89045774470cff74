"""One page about a transfer: every source against every target, at the budget that a slider chooses."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.transfer import name_of
from robustbench_fgsm.report.loaded_run import Run
from robustbench_fgsm.report.pages.single import single_page
from robustbench_fgsm.report.tables.terminal import INTERVALS, LIMITS, epsilon_text

SCRIPTS = ("format", "document", "crossing")


def page(run: Run) -> str:
    """The whole page. The same run always gives the same page."""
    document = run.document
    names = [name_of(model) for model in document["models"]]
    content = {
        "document": document,
        "names": names,
        "epsilon_texts": [epsilon_text(epsilon) for epsilon in document["attack"]["epsilons"]],
    }
    return single_page(
        "transfer.html.jinja",
        SCRIPTS,
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
