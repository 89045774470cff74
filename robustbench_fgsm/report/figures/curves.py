"""Figures of accuracy over epsilon and over a training, drawn without pyplot and without global settings."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.evaluation import target_rule_name
from robustbench_fgsm.report.documents.training import ACCURACY_LABELS
from robustbench_fgsm.report.evaluations_in import evaluations_in
from robustbench_fgsm.report.tables.text import epsilon_text, epsilon_unit_text, model_text, starts_text
from robustbench_fgsm.stats.rate import Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_FORMATS = ("png", "svg", "pdf")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours by Okabe and Ito, which colour-blind readers can tell apart."""
MARKERS = "osD^vPX"


def figure_format(file: Path) -> str:
    """Return `png`, `svg` or `pdf` by the name of a file. Raises SettingError for another name."""
    kind = file.suffix.lower().removeprefix(".")
    if kind not in FIGURE_FORMATS:
        raise SettingError(f"figure must be a file that ends in .png, .svg or .pdf, got {str(file)!r}: name one of these")
    return kind


def draw_accuracy_over_epsilon(runs: Mapping[str, Document]) -> Figure:
    """Draw robust accuracy over epsilon with 95 % bands: a line for each run and each rule, dashed for stable gradients.

    Args:
        runs: documents of evaluate, sweep or compare by the names of the runs.

    Raises:
        SettingError: the axes of the runs differ, because norm, bounds or scale of epsilon differ.
    """
    from matplotlib.figure import Figure

    curves = [(name, found) for name, document in runs.items() for found in evaluations_in(document)]
    axis_texts = {_epsilon_axis_text(found["attack"]): name for name, found in curves}
    if len(axis_texts) > 1:
        given = " and ".join(f"{text} ({name})" for text, name in list(axis_texts.items())[:2])
        raise SettingError(f"runs of one figure must have one axis, got {given}: draw a figure for each")
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for (name, found), colour, marker in zip(curves, cycle(COLOURS), cycle(MARKERS), strict=False):
        label = (
            name
            if len(curves) == len(runs) > 1
            else ", ".join([*([name] if len(runs) > 1 else []), target_rule_name(found).lower()])
        )
        _draw_curve(axes, found, "", label, colour, marker)
        if has_own_stable_curve(found):
            _draw_curve(axes, found, "stable", label, colour, marker)
    first = curves[0][1]
    attack = first["attack"]
    titles = dict.fromkeys(f"{found['n']:,} images of {found['data']['spec']}" for _, found in curves)
    models = [model_text(first["model"])] if len(runs) == 1 else []
    epsilons = sorted({0.0, *(at["epsilon"] for _, found in curves for at in found["epsilons"])})
    axes.set_title(escape_mathtext(", ".join([*models, "; ".join(titles)])), fontsize=10)
    axes.set_xlabel(_epsilon_axis_text(attack))
    axes.set_ylabel(f"accuracy under FGSM in per cent, 95 % band{starts_text(attack)}", fontsize=9)
    axes.set_ylim(-2, 102)
    axes.set_xlim(left=0)
    ticks = _spaced_ticks(epsilons)
    axes.set_xticks(ticks, [epsilon_text(epsilon) for epsilon in ticks])
    axes.grid(alpha=0.3)
    if len(axes.lines) > 1:
        axes.legend(frameon=False)
    return figure


def _epsilon_axis_text(attack: Document) -> str:
    low, high = attack["bounds"]
    values = ", values by feature" if isinstance(low, list) else f", pixel values in [{low:g}, {high:g}]"
    return f"epsilon{epsilon_unit_text(attack)} (norm {attack['norm']}{values})"


def has_own_stable_curve(evaluation: Document) -> bool:
    """Return True if the robust accuracy of stable gradients differs from that of ordinary ones at any budget."""
    return any(at["stable"]["robust_accuracy"] != at["robust_accuracy"] for at in evaluation["epsilons"] if "stable" in at)


def draw_training_curves(document: Document) -> Figure:
    """Draw the held-out accuracy of a training over its epochs with 95 % bands: clean, under FGSM and under PGD."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    checks = [check for check in document["checks"] if check["clean"]]
    for (name, label), colour, marker in zip(ACCURACY_LABELS.items(), COLOURS, MARKERS, strict=False):
        moments = [check["epoch"] - 1 + check["quarter"] / 4 for check in checks]
        values, low, high = ([100 * check[name][end] for check in checks] for end in ("value", "low", "high"))
        axes.plot(moments, values, label=label, marker=marker, markersize=3, color=colour)
        axes.fill_between(moments, low, high, color=colour, alpha=0.2, linewidth=0)
    recipe, overfitting = document["recipe"], document["overfitting"]
    if overfitting is not None:
        axes.axvline(
            overfitting["epoch"] - 1 + overfitting["quarter"] / 4,
            color=COLOURS[-1],
            linestyle=":",
            label="catastrophic overfitting",
        )
    kept = document["kept"]
    axes.axvline(kept["epoch"] - 1 + kept["quarter"] / 4, color="0.5", linestyle="--", linewidth=1, label="weights kept")
    axes.set_title(
        escape_mathtext(f"{document['model']['spec']}, {recipe['method']}, epsilon {epsilon_text(recipe['epsilon'])}"), fontsize=10
    )
    axes.set_xlabel("epochs")
    axes.set_ylabel(f"accuracy on {recipe['held_out']} held-out images in per cent, 95 % band", fontsize=9)
    axes.set_ylim(-2, 102)
    axes.grid(alpha=0.3)
    if checks:
        axes.legend(frameon=False)
    return figure


def encode_figure(figure: Figure, file_format: str) -> bytes:
    """Return a figure as the bytes of a file; equal figures give equal PNG files."""
    stream = io.BytesIO()
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(stream, format=file_format, dpi=200, bbox_inches="tight", metadata=dates.get(file_format))
    return stream.getvalue()


def _draw_curve(axes: Axes, found: Document, key: str, name: str, colour: str, marker: str) -> None:
    points = {0.0: found["clean"]["accuracy"]}
    points |= {at["epsilon"]: (at[key] if key else at)["robust_accuracy"] for at in found["epsilons"]}
    epsilons = sorted(points)
    values, low, high = ([100 * points[epsilon][end] for epsilon in epsilons] for end in ("value", "low", "high"))
    label = escape_mathtext(f"{name}{', stable where saturated' if key else ''}")
    dashes = "--" if key else "-"
    axes.plot(epsilons, values, dashes, label=label, marker=marker, markersize=4, color=colour)
    distance = found.get("distance")
    distance = distance["stable"] if key and distance else distance
    if not distance:
        axes.fill_between(epsilons, low, high, color=colour, alpha=0.2, linewidth=0)
    else:  # one band, at every epsilon
        _draw_distances(axes, distance, f"{label}, by distance", epsilons[-1], colour)


def _draw_distances(axes: Axes, distance: Document, label: str, largest: float, colour: str) -> None:
    """Draw the share of images whose distance is larger than epsilon, with its 95 % band, up to the largest budget."""
    curve = zip(distance["curve"]["epsilon"], (Rate(count, distance["n"]) for count in distance["curve"]["count"]), strict=True)
    shown = [(at, rate) for at, rate in curve if at <= largest and rate.interval is not None]
    epsilons = [at for at, _ in shown]
    axes.step(epsilons, [100 * (rate.value or 0) for _, rate in shown], ":", where="post", label=label, color=colour)
    low, high = ([100 * (rate.interval or (0, 1))[end] for _, rate in shown] for end in (0, 1))
    axes.fill_between(epsilons, low, high, step="post", color=colour, alpha=0.2, linewidth=0)


def _spaced_ticks(epsilons: list[float]) -> list[float]:
    """Return the ascending budgets whose labels do not overlap; the largest is always among them."""
    chosen = [epsilons[-1]]
    for epsilon in reversed(epsilons):
        if chosen[-1] - epsilon >= epsilons[-1] / 9:
            chosen.append(epsilon)
    return chosen[::-1]


def escape_mathtext(words: str) -> str:
    """Return text in which Matplotlib finds no formula."""
    return words.replace("$", r"\$")
