"""Page of a training run."""

from __future__ import annotations

from markupsafe import Markup

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, LIMITATION_NOTE
from robustbench_fgsm.report.documents.training import ACCURACY_LABELS, kept_weights_text
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.layout import render_page, single_run_notices
from robustbench_fgsm.report.pages.svg_chart import draw_chart, rate_line
from robustbench_fgsm.report.pages.tiles import training_tiles
from robustbench_fgsm.report.tables.text import epsilon_text

TRAINING_SCRIPTS = ("format", "page_data", "charts", "start")


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
        tiles=list(training_tiles(document, labels)),
        labels=labels,
        chart=_learning_curves(document, labels) if watched else "",
        watched=watched,
        budget=budget,
        kept=kept_weights_text(document),
        limits=[LIMITATION_NOTE, INTERVAL_NOTE, selection_bias] if watched else [],
    )


def _learning_curves(document: Document, labels: Document) -> Markup:
    """Return held-out accuracy over the epochs, with the weights kept and the moment of overfitting."""
    lines = []
    for place, name in enumerate(ACCURACY_LABELS):
        checks = [check for check in document["checks"] if check[name] is not None]
        texts = [f"epoch {check['epoch']}, quarter {check['quarter']}" for check in checks]
        rates = [(_moment(check), text, check[name]) for check, text in zip(checks, texts, strict=True)]
        lines.append(rate_line(labels[name], rates, place))
    marked = [(document["kept"], "kept", "now"), (document["overfitting"], "overfitting", "fell")]
    moments = [
        (_moment(at), f"{text}: epoch {at['epoch']}, quarter {at['quarter']}", kind) for at, text, kind in marked if at is not None
    ]
    ticks = [(float(epoch), f"{epoch}") for epoch in range(document["recipe"]["epochs"] + 1)]
    label = "Held-out accuracy in per cent over the epochs, with 95 % bands; the table below has the numbers"
    return draw_chart(lines, ticks, name="curves", label=label, x_title="epochs", y_title="accuracy, %", moments=moments)


def _moment(check: Document) -> float:
    return float(check["epoch"] - 1 + check["quarter"] / 4)
