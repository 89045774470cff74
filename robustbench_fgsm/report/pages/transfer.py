"""Page of a transfer run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, LIMITATION_NOTE
from robustbench_fgsm.report.figures.selection import select_epsilon
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.layout import render_page, single_run_notices
from robustbench_fgsm.report.pages.svg_chart import draw_chart, rate_line
from robustbench_fgsm.report.pages.tiles import transfer_tiles
from robustbench_fgsm.report.tables.text import epsilon_text, model_text, success_denominator

TRANSFER_SCRIPTS = ("format", "page_data", "charts", "transfer_matrices", "start")

MEASURES = {
    "robust_accuracy": "robust accuracy",
    "attack_success_rate": "attack success",
    "common_success_rate": "success at all models",
}


def build_transfer_page(run: LoadedRun) -> str:
    """Return the page of a transfer; an equal run always gives an equal page."""
    document = run.document
    names = [model_text(model) for model in document["models"]]
    epsilons = document["attack"]["epsilons"]
    budget = select_epsilon(epsilons, None)
    measures = {name: words for name, words in MEASURES.items() if document["cells"][0]["epsilons"][0][name] is not None}
    budgets = [epsilon_text(epsilon) for epsilon in document["attack"]["epsilons"]]
    return render_page(
        "transfer.html.jinja",
        TRANSFER_SCRIPTS,
        {"document": document, "names": names, "epsilon_texts": budgets},
        [run],
        **single_run_notices(document, document["n"], "images"),
        tiles=list(transfer_tiles(document, budget)),
        document=document,
        budget=budget,
        now=budgets[budget],
        measures=measures,
        charts=[_pair_chart(document, cell, names, measures) for cell in document["cells"]] if len(epsilons) > 1 else [],
        names=names,
        sides=[", ".join(side for side in ("source", "target") if place in document[f"{side}s"]) for place in range(len(names))],
        fair=success_denominator(document["attack"]),
        shared=all(at["common_success_rate"] is not None for cell in document["cells"] for at in cell["epsilons"]),
        limits=[*_denominator_notes(document), LIMITATION_NOTE, INTERVAL_NOTE],
    )


def _pair_chart(document: Document, cell: Document, names: Sequence[str], measures: Mapping[str, str]) -> Markup:
    """Return the rates of a pair over epsilon."""
    pair = f"{names[cell['source']]} → {names[cell['target']]}"
    clean = document["models"][cell["target"]]["clean_accuracy"]
    lines = []
    for place, (name, words) in enumerate(measures.items()):
        rates = [(at["epsilon"], f"epsilon {epsilon_text(at['epsilon'])}", at[name]) for at in cell["epsilons"]]
        start = [(0.0, "epsilon 0", clean)] if name == "robust_accuracy" and all(epsilon for epsilon, *_ in rates) else []
        lines.append(rate_line(words, [*start, *rates], place, dashed=name == "common_success_rate"))
    ticks = [(0.0, "0"), *((at["epsilon"], epsilon_text(at["epsilon"])) for at in cell["epsilons"])]
    label = f"{pair}: {', '.join(measures.values())} in per cent over epsilon, with 95 % bands; the table has the numbers"
    chart = f"pair-{cell['source']}-{cell['target']}"
    return draw_chart(lines, ticks, name=chart, label=label, x_title="epsilon", y_title="rate, %", now=0.0)


def _denominator_notes(document: Document) -> Iterator[str]:
    fair = success_denominator(document["attack"])
    yield (
        f"Robust accuracy is over all images. Attack success is over the images {fair} at both source and target, so its n "
        "differs from cell to cell."
    )
    yield (
        "A low success from another network is not robustness: only where source and target are one is the network itself attacked."
    )
