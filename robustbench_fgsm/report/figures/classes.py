"""Figures of confusion matrices and of classes, at one budget of one attack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.evaluation import target_rule_name
from robustbench_fgsm.report.figures.curves import COLOURS, draw_accuracy_over_epsilon, escape_mathtext
from robustbench_fgsm.report.figures.selection import select_epsilon, select_evaluation
from robustbench_fgsm.report.tables.text import epsilon_text, model_text, rate_text, shorten, starts_text
from robustbench_fgsm.stats.confusion import matrix_from_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EVALUATION_FIGURE_KINDS = ("confusion", "curve", "per-class")
MAX_CLASSES_WITH_COUNTS = 20
"""Most classes of a matrix whose cells have room for their counts."""

MAX_BARS = 40
MAX_CLASSES_WITH_NAMES = 60
MAX_NAME_LENGTH = 24


def draw_evaluation(document: Document, kind: str, targeted: str | None = None, epsilon: float | None = None) -> Figure:
    """Draw a figure of an evaluation, a sweep or a comparison.

    Args:
        document: an `rfgsm.evaluation/1`, `rfgsm.sweep/1` or `rfgsm.comparison/1` document.
        kind: `confusion`, `curve` or `per-class`. A curve shows all rules and budgets, so it takes no rule and no budget.
        targeted: the targeting rule, by default the first of the document.
        epsilon: a budget of the document, by default 8/255, else the largest.

    Raises:
        SettingError: for a kind, a rule or a budget that the document does not have.
    """
    if kind not in EVALUATION_FIGURE_KINDS:
        raise SettingError(f"kind must be one of {', '.join(EVALUATION_FIGURE_KINDS)}, got {kind!r}")
    if kind == "curve":
        if targeted is not None or epsilon is not None:
            raise SettingError("a curve shows every rule and epsilon of the run: leave targeted and epsilon out")
        return draw_accuracy_over_epsilon({"": document})
    evaluation = select_evaluation(document, targeted)
    at = evaluation["epsilons"][select_epsilon([at["epsilon"] for at in evaluation["epsilons"]], epsilon)]
    return draw_confusion(evaluation, at) if kind == "confusion" else draw_class_accuracy(evaluation, at)


def draw_confusion(evaluation: Document, epsilon_rates: Document) -> Figure:
    """Draw the confusion before and after the attack side by side: counts, coloured by their share of the row."""
    from matplotlib.figure import Figure

    if epsilon_rates["confusion"] is None:
        raise SettingError("a confusion matrix needs one class an image, got a multi-label run: choose kind per-class or curve")
    size = len(evaluation["data"]["classes"])
    side = min(max(3.2, 0.42 * size), 8)
    figure = Figure(figsize=(2 * side + 2, side + 1.2), layout="compressed")
    before, after = figure.subplots(1, 2)
    _draw_matrix(before, evaluation, evaluation["clean"]["confusion"], "before the attack")
    image = _draw_matrix(
        after, evaluation, epsilon_rates["confusion"], f"after it, epsilon {epsilon_text(epsilon_rates['epsilon'])}"
    )
    add_colour_bar(image, after, "colour: per cent of the row")
    figure.suptitle(figure_title(evaluation), fontsize=10)
    return figure


def draw_class_accuracy(evaluation: Document, epsilon_rates: Document) -> Figure:
    """Draw the robust accuracy of each class with its 95 % interval; of many classes, the least robust."""
    from matplotlib.figure import Figure

    present = [result for result in epsilon_rates["per_class"] if result["n"]]
    some = sorted(present, key=lambda result: (result["robust_accuracy"]["value"], result["label"]))[:MAX_BARS]
    shown = present if len(present) <= MAX_BARS else some
    rates = [result["robust_accuracy"] for result in shown]
    value, low, high = (np.array([100 * rate[end] for rate in rates]) for end in ("value", "low", "high"))
    places = np.arange(len(shown))
    figure = Figure(figsize=(6.4, 1.4 + 0.28 * max(len(shown), 4)), layout="constrained")
    axes = figure.subplots()
    axes.barh(places, value, color=COLOURS[0], alpha=0.7)
    whiskers = np.maximum([value - low, high - value], 0)
    axes.errorbar(value, places, xerr=whiskers, fmt="none", ecolor="black", capsize=3, linewidth=1)
    mean = epsilon_rates["robust_accuracy"]
    if mean["n"]:
        words = f"all {mean['n']:,} images: {rate_text(mean)}"
        axes.axvline(100 * mean["value"], color=COLOURS[1], linestyle="--", label=words)
        figure.legend(loc="outside lower right", frameon=False, fontsize=8)
    axes.set_yticks(
        places, [f"{escape_mathtext(shorten(result['name'], MAX_NAME_LENGTH))} (n={result['n']:,})" for result in shown], fontsize=8
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 102)
    less = "" if shown is present else f"; the {MAX_BARS} with the lowest accuracy of {len(present):,}"
    axes.set_xlabel(f"robust accuracy in per cent, 95 % intervals{starts_text(evaluation['attack'])}{less}", fontsize=9)
    axes.set_title(f"{figure_title(evaluation)}\nepsilon {epsilon_text(epsilon_rates['epsilon'])}", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    return figure


def _draw_matrix(axes: Axes, evaluation: Document, matrix: Any, when: str) -> Any:
    counts, classes = (
        matrix_from_json(matrix),
        [escape_mathtext(shorten(name, MAX_NAME_LENGTH)) for name in evaluation["data"]["classes"]],
    )
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    if len(classes) <= MAX_CLASSES_WITH_COUNTS:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 55 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=7, in_layout=False)
    if len(classes) <= MAX_CLASSES_WITH_NAMES:
        axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=7)
        axes.set_yticks(range(len(classes)), classes, fontsize=7)
    axes.set_xlabel(f"prediction {when}")
    axes.set_ylabel("label")
    return image


def add_colour_bar(image: Any, axes: Axes, label: str) -> None:
    """Add the colour bar of an image beside its axes, as high as the axes."""
    bar = axes.figure.colorbar(image, cax=axes.inset_axes((1.04, 0, 0.05, 1)))
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def figure_title(evaluation: Document) -> str:
    """Return model, images and targeting rule as a title."""
    images = f"{evaluation['n']:,} images of {evaluation['data']['spec']}"
    return escape_mathtext(f"{model_text(evaluation['model'])}, {images}, {target_rule_name(evaluation).lower()}")
