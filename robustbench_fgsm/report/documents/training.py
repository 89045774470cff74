"""Summary of a training document."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, LIMITATION_NOTE, invalid_sentences, warning_sentences
from robustbench_fgsm.report.tables.sheet import Cell, Section, Sheet, Summary
from robustbench_fgsm.report.tables.text import count_text, epsilon_text, rate_text
from robustbench_fgsm.training.recipe import ONLINE_ADVERSARIAL_METHODS

ACCURACY_LABELS = {"clean": "clean", "fgsm": "FGSM", "pgd": "PGD-10"}


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.training/1` document."""
    return Summary(_heading(document), (Section((_epochs_sheet(document),)),), tuple(_closing(document)), _answer(document))


def _heading(document: Document) -> tuple[str, ...]:
    recipe, images = document["recipe"], count_text(document["n"], "image")
    against = "" if recipe["method"] == "standard" else f" at epsilon {epsilon_text(recipe['epsilon'])}"
    crafted = f", crafted in {recipe['craft_mode']} mode" if recipe["method"] in ONLINE_ADVERSARIAL_METHODS else ""
    return (
        f"{document['model']['spec']} on {images} of {document['data']['spec']}, {recipe['held_out']} held out",
        f"{recipe['method']}{against}{crafted}, {count_text(recipe['epochs'], 'epoch')}, seed {recipe['seed']}",
        f"{recipe['optimizer']}, {recipe['schedule']} to {recipe['learning_rate']:g}, batch size {recipe['batch_size']}",
    )


def _epochs_sheet(document: Document) -> Sheet:
    """Return the accuracy on the held-out images after each epoch: clean, under FGSM and under PGD."""
    ends = {check["epoch"]: check for check in document["checks"]}
    rows: list[tuple[Cell, ...]] = [
        (epoch, f"{check['loss']:.4f}", *(check[name] for name in ACCURACY_LABELS)) for epoch, check in ends.items()
    ]
    n = document["checks"][-1]["clean"]
    title = f"After each epoch, right in per cent of {n['n']:,} held-out images" if n else "After each epoch"
    budget = epsilon_text(document["recipe"]["epsilon"])
    columns = ("epoch", "loss", "clean", f"FGSM {budget}", f"PGD-10 {budget}")
    return Sheet("epochs", title, columns, tuple(rows))


def training_check_text(check: Document) -> str:
    """Return one check on one line, for the progress of a training."""
    rates = ", ".join(f"{ACCURACY_LABELS[name]} {rate_text(check[name])} %" for name in ACCURACY_LABELS if check[name] is not None)
    n = f", n={check['clean']['n']}" if check["clean"] else ""
    return f"epoch {check['epoch']}, quarter {check['quarter']}: loss {check['loss']:.4f}{', ' if rates else ''}{rates}{n}"


def kept_weights_text(document: Document) -> str:
    """Return which weights are kept as a sentence."""
    kept = document["kept"]
    last = kept["step"] == document["checks"][-1]["step"]
    why = "the last" if last else "the best accuracy under PGD-10"
    return f"Kept: the weights of epoch {kept['epoch']}, quarter {kept['quarter']}, {why}."


def _answer(document: Document) -> str:
    """Return which weights are kept, and their accuracy."""
    kept = document["kept"]
    rates = [f"{ACCURACY_LABELS[name]} {100 * kept[name]['value']:.1f} %" for name in ACCURACY_LABELS if kept[name] is not None]
    accuracy = f" Right: {', '.join(rates)} of {count_text(kept['clean']['n'], 'held-out image')}." if rates else ""
    return f"{kept_weights_text(document)}{accuracy}"


def _closing(document: Document) -> Iterator[str]:
    if document["stopped_early"]:
        yield f"Stopped early, after {document['checks'][-1]['epoch']} of {document['recipe']['epochs']} epochs."
    if document["checks"][-1]["clean"]:
        yield INTERVAL_NOTE
        yield LIMITATION_NOTE
    yield from warning_sentences(document)
    yield from invalid_sentences(document)
