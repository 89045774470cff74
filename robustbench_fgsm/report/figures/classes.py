"""Confusion matrices and classes as figures, at one budget of one attack."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.evaluation import target_rule_name
from robustbench_fgsm.report.figures.curves import COLOURS, draw_accuracy_over_epsilon, escape_mathtext
from robustbench_fgsm.report.reported_attacks import evaluations_in
from robustbench_fgsm.report.tables.sheet import starts_text
from robustbench_fgsm.report.tables.terminal import epsilon_text, rate_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EVALUATION_FIGURE_KINDS = ("confusion", "curve", "per-class")
DEFAULT_EPSILON = 8 / 255
MAX_CLASSES_WITH_COUNTS = 20
"""Of more classes, cells are too small for their counts."""

MAX_BARS = 40
MAX_CLASSES_WITH_NAMES = 60


def draw_evaluation(document: Document, kind: str, targeted: str | None = None, epsilon: float | None = None) -> Figure:
    """A figure of an evaluation, a sweep or a comparison.

    kind: one of KINDS; a curve shows all rules and budgets, so it takes neither of the rest. targeted: the rule, the first
    by default. epsilon: a budget of the run; 8/255 by default, or else the largest. Raises SettingError for what the run
    does not hold.
    """
    if kind not in EVALUATION_FIGURE_KINDS:
        raise SettingError(f"kind must be one of {', '.join(EVALUATION_FIGURE_KINDS)}, got {kind!r}")
    if kind == "curve":
        if targeted is not None or epsilon is not None:
            raise SettingError("a curve shows every rule and epsilon of the run: leave targeted and epsilon out")
        return draw_accuracy_over_epsilon({"evaluations": evaluations_in(document)})
    evaluation = select_evaluation(document, targeted)
    at = _epsilon_index(evaluation, epsilon)
    return draw_confusion(evaluation, at) if kind == "confusion" else draw_class_accuracy(evaluation, at)


def draw_confusion(evaluation: Document, epsilon_rates: Document) -> Figure:
    """Confusion before and after the attack side by side: counts, coloured by their share of the row."""
    from matplotlib.figure import Figure

    size = len(evaluation["data"]["classes"])
    side = min(max(3.2, 0.42 * size), 8)
    figure = Figure(figsize=(2 * side + 2, side + 1.2), layout="constrained")
    before, after = figure.subplots(1, 2)
    _draw_matrix(before, evaluation, evaluation["clean"]["confusion"], "before the attack")
    image = _draw_matrix(
        after, evaluation, epsilon_rates["confusion"], f"after it, epsilon {epsilon_text(epsilon_rates['epsilon'])}"
    )
    figure.colorbar(image, ax=[before, after], label="per cent of the label's images", shrink=0.8)
    figure.suptitle(figure_title(evaluation), fontsize=10)
    return figure


def draw_class_accuracy(evaluation: Document, epsilon_rates: Document) -> Figure:
    """Robust accuracy of each class with its 95 % interval, the mean as a line; of many classes those that fare worst."""
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
        places, [f"{escape_mathtext(_short_model_label(result['name']))} (n={result['n']:,})" for result in shown], fontsize=8
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 102)
    less = "" if shown is present else f"; the {MAX_BARS} that fare worst of {len(present):,}"
    axes.set_xlabel(f"robust accuracy in per cent, 95 % intervals{starts_text(evaluation)}{less}", fontsize=9)
    axes.set_title(f"{figure_title(evaluation)}\nepsilon {epsilon_text(epsilon_rates['epsilon'])}", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    return figure


def dense_matrix(matrix: Any) -> NDArray[np.int64]:
    """Counts (K, K) of a matrix as a document holds it: lists of lists, or the cells that are not zero."""
    if not isinstance(matrix, dict):
        return np.array(matrix, np.int64)
    found = np.zeros(matrix["shape"], np.int64)
    found[matrix["rows"], matrix["columns"]] = matrix["counts"]
    return found


def _draw_matrix(axes: Axes, evaluation: Document, matrix: Any, when: str) -> Any:
    counts, classes = dense_matrix(matrix), [escape_mathtext(_short_model_label(name)) for name in evaluation["data"]["classes"]]
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    if len(classes) <= MAX_CLASSES_WITH_COUNTS:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 55 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=7)
    if len(classes) <= MAX_CLASSES_WITH_NAMES:
        axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=7)
        axes.set_yticks(range(len(classes)), classes, fontsize=7)
    axes.set_xlabel(f"prediction {when}")
    axes.set_ylabel("label")
    return image


def select_evaluation(document: Document, targeted: str | None) -> Document:
    """The evaluation of that rule in a document, the first by default; raises SettingError for a rule that is not there."""
    found = {evaluation["attack"]["targeted"]: evaluation for evaluation in evaluations_in(document)}
    if targeted is None:
        return next(iter(found.values()))
    if targeted not in found:
        raise SettingError(f"targeted must be a rule of the run, {' or '.join(found)}, got {targeted!r}")
    return found[targeted]


def _epsilon_index(evaluation: Document, epsilon: float | None) -> Document:
    places: list[Document] = evaluation["epsilons"]
    wanted = DEFAULT_EPSILON if epsilon is None else epsilon
    for at in places:
        if math.isclose(at["epsilon"], wanted, rel_tol=1e-9):
            return at
    if epsilon is None:
        return max(places, key=lambda at: float(at["epsilon"]))
    there = ", ".join(epsilon_text(at["epsilon"]) for at in places)
    raise SettingError(f"epsilon must be one of the run, {there}, got {epsilon_text(epsilon)}: name one of these")


def figure_title(evaluation: Document) -> str:
    """Model, images and rule in a line."""
    model, data = evaluation["model"], evaluation["data"]
    images = f"{evaluation['n']:,} images of {data['spec']}"
    return escape_mathtext(f"{model['spec']} ({model['weights']}), {images}, {target_rule_name(evaluation).lower()}")


def _short_model_label(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"
