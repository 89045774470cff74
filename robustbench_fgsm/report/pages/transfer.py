"""Page of a transfer run."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, LIMITATION_NOTE
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.layout import render_page, single_run_notices
from robustbench_fgsm.report.tables.text import epsilon_text, model_text, success_denominator

TRANSFER_SCRIPTS = ("format", "page_data", "transfer_matrices")


def build_transfer_page(run: LoadedRun) -> str:
    """Return the page of a transfer; an equal run always gives an equal page."""
    document = run.document
    names = [model_text(model) for model in document["models"]]
    budgets = [epsilon_text(epsilon) for epsilon in document["attack"]["epsilons"]]
    return render_page(
        "transfer.html.jinja",
        TRANSFER_SCRIPTS,
        {"document": document, "names": names, "epsilon_texts": budgets},
        [run],
        **single_run_notices(document, document["n"], "images"),
        document=document,
        names=names,
        sides=[", ".join(side for side in ("source", "target") if place in document[f"{side}s"]) for place in range(len(names))],
        fair=success_denominator(document["attack"]),
        shared=all(at["common_success_rate"] is not None for cell in document["cells"] for at in cell["epsilons"]),
        limits=[*_denominator_notes(document), LIMITATION_NOTE, INTERVAL_NOTE],
    )


def _denominator_notes(document: Document) -> Iterator[str]:
    fair = success_denominator(document["attack"])
    yield (
        f"Robust accuracy is over all images. Attack success is over the images {fair} at both source and target, so its n "
        "differs from cell to cell."
    )
    yield (
        "A low success from another network is not robustness: only where source and target are one is the network itself attacked."
    )
