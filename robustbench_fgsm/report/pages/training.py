"""Page of a training run."""

from __future__ import annotations

from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, LIMITATION_NOTE
from robustbench_fgsm.report.documents.training import ACCURACY_LABELS, kept_weights_text
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.layout import render_page, single_run_notices
from robustbench_fgsm.report.tables.text import epsilon_text

TRAINING_SCRIPTS = ("format", "page_data", "curves", "training_curves")


def build_training_page(run: LoadedRun) -> str:
    """Return the page of a training; an equal run always gives an equal page."""
    document, held_out = run.document, run.document["recipe"]["held_out"]
    watched = document["checks"][-1]["clean"] is not None
    budget = epsilon_text(document["recipe"]["epsilon"])
    labels = {name: label if name == "clean" else f"{label} at {budget}" for name, label in ACCURACY_LABELS.items()}
    selection_bias = (
        f"The best of many checks on {held_out:,} held-out images flatters: measure the network on the test images before "
        "you quote it."
    )
    return render_page(
        "training.html.jinja",
        TRAINING_SCRIPTS,
        {"document": document, "labels": labels},
        [run],
        **single_run_notices(document, held_out, "held-out images"),
        document=document,
        labels=labels,
        watched=watched,
        budget=budget,
        kept=kept_weights_text(document),
        limits=[LIMITATION_NOTE, INTERVAL_NOTE, selection_bias] if watched else [],
    )
