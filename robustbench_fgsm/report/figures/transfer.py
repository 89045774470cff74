"""Heat map of a transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.figures.classes import add_colour_bar
from robustbench_fgsm.report.figures.curves import escape_mathtext
from robustbench_fgsm.report.figures.selection import select_epsilon
from robustbench_fgsm.report.tables.text import count_text, epsilon_text, epsilon_unit_text, model_text, rate_text, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NAME_LENGTH = 26
"""Most letters of the name of a model beside a heat map."""


def draw_heat_map(document: Document, epsilon: float | None = None) -> Figure:
    """Draw robust accuracy and attack success of every source (down) at every target (across), with the n of each cell.

    Args:
        document: an `rfgsm.transfer/1` document.
        epsilon: a budget of the document, by default 8/255, else the largest.

    Raises:
        SettingError: for a budget that the document does not have.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    budget = select_epsilon(document["attack"]["epsilons"], epsilon)
    models, down, across = document["models"], document["sources"], document["targets"]
    width, height = (1.4 + 1.1 * len(side) for side in (across, down))
    figure = Figure(figsize=(2 * max(3.4, width) + 1.5, max(2.0, height) + 1.2), layout="compressed")
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
            if down[row] == across[column]:
                axes.add_patch(Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, edgecolor="white", linewidth=2))
        axes.set_title(f"{measure.replace('_', ' ')}, per cent", fontsize=10)
        axes.set_xticks(range(len(across)), [_axis_label(models[model]) for model in across], rotation=30, ha="right", fontsize=8)
        axes.set_yticks(range(len(down)), [_axis_label(models[model]) for model in down], fontsize=8)
        axes.set_xlabel("target: shown to")
        axes.set_ylabel("source: crafted on")
    add_colour_bar(image, axes, "per cent; framed: source is target")
    attack, rule = document["attack"], document["attack"]["targeted"]
    goal = "" if rule == "none" else f", targeted {rule}"
    images = count_text(document["n"], "image")
    size = f"epsilon {epsilon_text(attack['epsilons'][budget])}{epsilon_unit_text(attack)}"
    words = f"FGSM, norm {attack['norm']}, {size}{goal}, {images}"
    figure.suptitle(escape_mathtext(f"{words} of {document['data']['spec']}"), fontsize=10)
    return figure


def _axis_label(model: Document) -> str:
    return escape_mathtext(shorten(model_text(model), MAX_NAME_LENGTH))
