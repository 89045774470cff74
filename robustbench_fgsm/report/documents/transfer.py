"""A transfer in the terminal, as Markdown's tables, and as a heat map, from the document that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.sheet import Cell, Sheet
from robustbench_fgsm.report.tables.terminal import (
    INTERVALS,
    LIMITS,
    epsilon_text,
    prose,
    rate_text,
    several,
    sheet_table,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "rfgsm.transfer/1"
USUAL = 8 / 255
LONGEST = 26
"""Letters of a model's name beside a heat map."""


def transfer(document: Document) -> RenderableType:
    """The whole of an `rfgsm.transfer/1` document."""
    tables = (sheet_table(sheet) for sheet in transfer_sheets(document))
    return Group(*map(Text, heading(document)), *tables, *prose(["", *closing(document)]))


def heading(document: Document) -> list[str]:
    """What was attacked and how, and the models by number."""
    attack, sources, targets = document["attack"], len(document["sources"]), len(document["targets"])
    budgets = ", ".join(map(epsilon_text, attack["epsilons"]))
    gradient = ", stable gradient" if attack["stable"] else ""
    starts = f", best of {attack['restarts'] + 1} starts" if attack["restarts"] else ""
    return [
        f"FGSM from {several(sources, 'model')} to {targets}, on {several(document['n'], 'image')} of "
        f"{document['data']['spec']}",
        f"norm {attack['norm']}, epsilon {budgets}, targeted {attack['targeted']}, loss {attack['loss']}{gradient}{starts}",
    ]


def transfer_sheets(document: Document) -> Iterator[Sheet]:
    """The models; at each budget a row for each pair; and class by class where that was asked for."""
    models = document["models"]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (str(place), name_of(model), model["clean_accuracy"]) for place, model in enumerate(models)
    )
    yield Sheet(f"Models; clean accuracy in per cent, n={document['n']:,}", ("", "model", "clean"), rows)
    fair = "right before" if document["attack"]["targeted"] == "none" else "off target"
    for budget, epsilon in enumerate(document["attack"]["epsilons"]):
        yield _pairs(
            document, budget, f"At epsilon {epsilon_text(epsilon)}, in per cent; attack success of those {fair} at both"
        )
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            if at["per_class"] is not None:
                yield _classes(cell, at)


def _pairs(document: Document, budget: int, title: str) -> Sheet:
    cells = [(cell, cell["epsilons"][budget]) for cell in document["cells"]]
    shared = all(at["common_success_rate"] is not None for _, at in cells)
    rows = []
    for cell, at in cells:
        success, common = at["attack_success_rate"], at["common_success_rate"]
        row: list[Cell] = [f"{cell['source']} > {cell['target']}", at["robust_accuracy"], at["robust_accuracy"]["n"]]
        row += [success, success["n"]]
        rows.append((*row, common, common["n"]) if shared else tuple(row))
    columns = ("pair", "robust", "n", "success", "of", *(("at all", "of") if shared else ()))
    return Sheet(title, columns, tuple(rows), tall=True)


def _classes(cell: Document, at: Document) -> Sheet:
    rows = tuple(
        (
            f"{result['label']} {result['name']}",
            result["robust_accuracy"],
            result["n"],
            result["attack_success_rate"],
            result["attack_success_rate"]["n"],
        )
        for result in at["per_class"]
    )
    title = f"{cell['source']} > {cell['target']} at epsilon {epsilon_text(at['epsilon'])}, by class, in per cent"
    return Sheet(title, ("", "robust", "n", "success", "of"), rows, tall=True)


def closing(document: Document) -> Iterator[str]:
    """What must be said beside the numbers."""
    yield "1 > 2: images crafted on model 1, shown to model 2. Robust accuracy is over all images."
    if any(at["common_success_rate"] for cell in document["cells"] for at in cell["epsilons"]):
        yield "At all: attack success over the images that every model here can be fooled on."
    yield INTERVALS
    yield LIMITS
    for warning in document["warnings"]:
        yield f"Warning: {warning}"
    for reason in document["invalid_reasons"]:
        yield f"INVALID: {reason}"


def name_of(model: Document) -> str:
    """The model and its weights."""
    return f"{model['spec']} ({model['weights']})"


def heat_map(document: Document, epsilon: float | None = None) -> Figure:
    """Robust accuracy, and attack success, of every source (down) at every target (across), with each cell's n.

    epsilon: a budget of the run; 8/255 by default, or else the largest. Raises SettingError for another.
    """
    from matplotlib.figure import Figure

    budget = _budget(document, epsilon)
    models, down, across = document["models"], document["sources"], document["targets"]
    width, height = (1.4 + 1.1 * len(side) for side in (across, down))
    figure = Figure(figsize=(2 * max(3.4, width) + 1.5, max(3.0, height) + 1.2), layout="constrained")
    halves = zip(figure.subplots(1, 2), ("robust_accuracy", "attack_success_rate"), strict=True)
    for axes, measure in halves:
        rates = [cell["epsilons"][budget][measure] for cell in document["cells"]]
        values = [np.nan if rate["value"] is None else 100 * rate["value"] for rate in rates]
        grid = np.array(values, float).reshape(len(down), len(across))
        image = axes.imshow(grid, vmin=0, vmax=100, cmap="viridis")
        for place, rate in enumerate(rates):
            row, column = divmod(place, len(across))
            dark = rate["value"] is None or rate["value"] < 0.6
            text = f"{rate_text(rate).partition(' ')[0]}\nn={rate['n']:,}"
            axes.text(column, row, text, ha="center", va="center", color="white" if dark else "black", fontsize=8)
        axes.set_title(f"{measure.replace('_', ' ')}, per cent", fontsize=10)
        axes.set_xticks(
            range(len(across)), [_short(models[model]) for model in across], rotation=30, ha="right", fontsize=8
        )
        axes.set_yticks(range(len(down)), [_short(models[model]) for model in down], fontsize=8)
        axes.set_xlabel("target: shown to")
        axes.set_ylabel("source: crafted on")
        figure.colorbar(image, ax=axes, shrink=0.8)
    attack, rule = document["attack"], document["attack"]["targeted"]
    goal = "" if rule == "none" else f", targeted {rule}"
    images = several(document["n"], "image")
    words = f"FGSM, norm {attack['norm']}, epsilon {epsilon_text(attack['epsilons'][budget])}{goal}, {images}"
    figure.suptitle(f"{words} of {document['data']['spec']}".replace("$", r"\$"), fontsize=10)
    return figure


def _budget(document: Document, epsilon: float | None) -> int:
    there: list[float] = document["attack"]["epsilons"]
    wanted = USUAL if epsilon is None else epsilon
    for place, budget in enumerate(there):
        if abs(budget - wanted) <= 1e-9 * max(budget, wanted):
            return place
    if epsilon is None:
        return there.index(max(there))
    known = ", ".join(map(epsilon_text, there))
    raise SettingError(f"epsilon must be one of the run, {known}, got {epsilon_text(epsilon)}: name one of these")


def _short(model: Document) -> str:
    name = name_of(model)
    return (name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…").replace("$", r"\$")
