"""One page about a training: its curves, every check, and what is kept."""

from __future__ import annotations

from robustbench_fgsm.report.documents.training import NAMES, kept_text
from robustbench_fgsm.report.loaded_run import Run
from robustbench_fgsm.report.pages.single import single_page
from robustbench_fgsm.report.tables.terminal import INTERVALS, LIMITS, epsilon_text

SCRIPTS = ("format", "document", "curves", "learning")


def page(run: Run) -> str:
    """The whole page. The same run always gives the same page."""
    document = run.document
    watched = document["checks"][-1]["clean"] is not None
    budget = epsilon_text(document["recipe"]["epsilon"])
    labels = {name: label if name == "clean" else f"{label} at {budget}" for name, label in NAMES.items()}
    return single_page(
        "training.html.jinja",
        SCRIPTS,
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
