"""The page of runs of any kind, and of any other document."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, LIMITATION_NOTE
from robustbench_fgsm.report.documents.training import ACCURACY_LABELS, kept_weights_text
from robustbench_fgsm.report.documents.verification import VERDICT_TEXTS, heading_lines, verdict_sentence
from robustbench_fgsm.report.figures.curves import encode_figure
from robustbench_fgsm.report.figures.selection import select_epsilon
from robustbench_fgsm.report.figures.verification import draw_responses
from robustbench_fgsm.report.loaded_run import (
    EVALUATION_SCHEMAS,
    GATE_SCHEMA,
    TRAINING_SCHEMA,
    TRANSFER_SCHEMA,
    VERIFICATION_SCHEMA,
    LoadedRun,
    schema_kind,
)
from robustbench_fgsm.report.pages.evaluations import build_evaluations_page
from robustbench_fgsm.report.pages.layout import render_page, single_run_notices
from robustbench_fgsm.report.pages.svg_chart import draw_chart, rate_line
from robustbench_fgsm.report.pages.tiles import gate_tiles, training_tiles, transfer_tiles, verification_tiles
from robustbench_fgsm.report.summarize import summarize
from robustbench_fgsm.report.tables.sheet import cell_text, is_text_column
from robustbench_fgsm.report.tables.text import epsilon_text, model_text, success_denominator

FAILED_WORDS = ("FAILED", "INVALID", "DISAGREE", "WRONG", "NOT")
"""First words of verdicts that say no."""


def build_summary_page(run: LoadedRun) -> str:
    """Return the page of a document of any schema that has a summary; an equal run always gives an equal page."""
    document = run.document
    summary = summarize(document)
    reasons = document.get("invalid_reasons", [])
    notes = [line.strip() for line in summary.closing if line and not line.startswith(("INVALID:", "Warning:"))]
    answer = summary.verdict or (notes.pop() if notes else "")
    passed = not answer.startswith(FAILED_WORDS)
    return render_page(
        "summary.html.jinja",
        ("format", "page_data", "charts", "start"),
        {"document": document},
        [run],
        reasons=reasons,
        gates=[(passed, answer)] if answer else [],
        warnings=document.get("warnings", []),
        limits=notes,
        tiles=list(gate_tiles(document)) if document["schema"] == GATE_SCHEMA else [],
        document=document,
        kind=schema_kind(document["schema"]).replace("-", " "),
        summary=summary,
        text=cell_text,
        is_text=is_text_column,
    )


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


def build_verification_page(run: LoadedRun) -> str:
    """Return the page of a verification; an equal run always gives an equal page."""
    document = run.document
    picture = base64.b64encode(encode_figure(draw_responses(document), "png")).decode()
    return render_page(
        "verification.html.jinja",
        ("format", "page_data", "charts", "start"),
        {"document": document},
        [run],
        reasons=document["invalid_reasons"],
        gates=[(document["verdict"] == "right", verdict_sentence(document))],
        warnings=[],
        limits=[],
        tiles=list(verification_tiles(document, verdict_sentence(document))),
        document=document,
        heading=list(heading_lines(document)),
        verdicts=VERDICT_TEXTS,
        figure=f"data:image/png;base64,{picture}",
        failed=sum(call["failure"] is not None for call in document["calls"]),
    )


def build_page(runs: Sequence[LoadedRun]) -> str:
    """Return the page of runs, or of one document of any schema; equal runs always give an equal page.

    This is the page that `--html` of every command writes: `build_page([LoadedRun("gate", document)])` is that of a gate.

    Raises SettingError if there are several runs and one is not of evaluate, sweep or compare: it has a page of its own.
    """
    alone = [run for run in runs if run.document["schema"] not in EVALUATION_SCHEMAS]
    if not alone:
        return build_evaluations_page(runs)
    (run, *_), schema = alone, alone[0].document["schema"]
    if len(runs) > 1:
        kind = schema_kind(schema).replace("-", " ")
        raise SettingError(f"a page is of one {kind} alone, got {run.name} among {len(runs)} runs: make a page for each")
    makers = {
        TRANSFER_SCHEMA: build_transfer_page,
        TRAINING_SCHEMA: build_training_page,
        VERIFICATION_SCHEMA: build_verification_page,
    }
    return makers.get(schema, build_summary_page)(run)
