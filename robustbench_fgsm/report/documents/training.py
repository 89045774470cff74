"""A training in the terminal, readable at 80 columns, from the document that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.sheet import Cell, Sheet
from robustbench_fgsm.report.tables.terminal import (
    INTERVAL_NOTE,
    LIMITATION_NOTE,
    count_text,
    epsilon_text,
    rate_text,
    render_sheet,
    styled_lines,
)
from robustbench_fgsm.training.recipe import ONLINE_ADVERSARIAL_METHODS

ACCURACY_LABELS = {"clean": "clean", "fgsm": "FGSM", "pgd": "PGD-10"}


def render_training(document: Document) -> RenderableType:
    """The whole of an `rfgsm.training/1` document."""
    return Group(*map(Text, heading(document)), render_sheet(epochs_sheet(document)), *styled_lines(["", *closing(document)]))


def heading(document: Document) -> list[str]:
    """What was trained on what, and how."""
    recipe, model = document["recipe"], document["model"]
    against = "" if recipe["method"] == "standard" else f" at epsilon {epsilon_text(recipe['epsilon'])}"
    crafted = f", crafted in {recipe['craft_mode']} mode" if recipe["method"] in ONLINE_ADVERSARIAL_METHODS else ""
    return [
        f"{model['spec']} on {count_text(document['n'], 'image')} of {document['data']['spec']}, {recipe['held_out']} held out",
        f"{recipe['method']}{against}{crafted}, {count_text(recipe['epochs'], 'epoch')}, seed {recipe['seed']}",
        f"{recipe['optimizer']}, {recipe['schedule']} to {recipe['learning_rate']:g}, batch size {recipe['batch_size']}",
    ]


def epochs_sheet(document: Document) -> Sheet:
    """The held-out images at the end of each epoch: clean, under FGSM and under PGD."""
    ends = {check["epoch"]: check for check in document["checks"]}
    rows: list[tuple[Cell, ...]] = [
        (epoch, f"{check['loss']:.4f}", *(check[name] for name in ACCURACY_LABELS)) for epoch, check in ends.items()
    ]
    n = document["checks"][-1]["clean"]
    title = f"After each epoch, right in per cent of {n['n']:,} held-out images" if n else "After each epoch"
    budget = epsilon_text(document["recipe"]["epsilon"])
    columns = ("epoch", "loss", "clean", f"FGSM {budget}", f"PGD-10 {budget}")
    return Sheet(title, columns, tuple(rows))


def training_check_text(check: Document) -> str:
    """One check in a line, while the training runs."""
    rates = ", ".join(f"{ACCURACY_LABELS[name]} {rate_text(check[name])} %" for name in ACCURACY_LABELS if check[name] is not None)
    n = f", n={check['clean']['n']}" if check["clean"] else ""
    return f"epoch {check['epoch']}, quarter {check['quarter']}: loss {check['loss']:.4f}{', ' if rates else ''}{rates}{n}"


def kept_weights_text(document: Document) -> str:
    """Which weights are kept, in a sentence."""
    kept = document["kept"]
    last = kept["step"] == document["checks"][-1]["step"]
    why = "the last" if last else "the best accuracy under PGD-10"
    return f"Kept: the weights of epoch {kept['epoch']}, quarter {kept['quarter']}, {why}."


def closing(document: Document) -> Iterator[str]:
    """What is kept, and what must be said beside the numbers, a sentence each."""
    recipe = document["recipe"]
    yield kept_weights_text(document)
    if document["stopped_early"]:
        yield f"Stopped early, after {document['checks'][-1]['epoch']} of {recipe['epochs']} epochs."
    if document["checks"][-1]["clean"]:
        yield INTERVAL_NOTE
        yield LIMITATION_NOTE
    for warning in document["warnings"]:
        yield f"Warning: {warning}"
