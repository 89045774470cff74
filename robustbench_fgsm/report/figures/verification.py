"""Figure of the response curves of a candidate, beside those of the right method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.verification import VERDICT_TEXTS
from robustbench_fgsm.report.figures.curves import COLOURS, escape_mathtext

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OWN_COLOUR, RIGHT_COLOUR = COLOURS[1], COLOURS[0]
RIGHT_LINE: dict[str, Any] = {"color": RIGHT_COLOUR, "linewidth": 5, "alpha": 0.35}
"""Style of the right curve, wide enough to be seen below the candidate's."""

MAX_CHANNELS = 4
"""Most channels whose bounds are drawn."""


def draw_responses(document: Document) -> Figure:
    """Draw what `verify` measured: displacement over |gradient|, displacement over epsilon, and the bounds of the outputs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    stages = {stage["stage"]: stage for stage in document["stages"]}
    panels = figure.subplots(1, 3)
    for axes, name, draw in zip(panels, ("direction", "size", "clip"), (_draw_direction, _draw_size, _draw_clip), strict=True):
        verdict = VERDICT_TEXTS[stages[name]["verdict"]]
        axes.set_title(f"{name}: {verdict}", fontsize=10)
        if not draw(axes, stages[name]["measured"], document):
            axes.text(0.5, 0.5, "no numbers", ha="center", va="center", transform=axes.transAxes)
            axes.set_axis_off()
        elif axes is panels[0]:
            axes.legend(frameon=False, fontsize=8)
    figure.suptitle(escape_mathtext(f"{document['candidate']['name']}: {document['verdict']}"), fontsize=10)
    return figure


def _draw_direction(axes: Axes, measured: Document, _: Document) -> bool:
    """Draw the displacement in units of epsilon for each decade of the gradient's magnitude."""
    if "response" not in measured:
        return False
    magnitudes = [10**0.5 * float(start) for start in measured["magnitude"]]
    axes.plot(magnitudes, [1.0] * len(magnitudes), label="FGSM", **RIGHT_LINE)
    axes.plot(magnitudes, measured["response"], marker="o", markersize=4, color=OWN_COLOUR, label="the candidate")
    axes.set_xscale("log")
    axes.set_xlabel("|gradient|")
    axes.set_ylabel("displacement / epsilon")
    axes.set_ylim(bottom=-0.05)
    axes.grid(alpha=0.3)
    return True


def _draw_size(axes: Axes, measured: Document, document: Document) -> bool:
    """Draw the displacement over epsilon."""
    budgets = {call["name"]: call["epsilon"] for call in document["calls"]}
    steps = measured.get("sizes") or {name: factor * budgets[name] for name, factor in measured.get("factors", {}).items()}
    if not steps or not steps.keys() <= budgets.keys():  # attacks of several steps have no call for each size
        return False
    points = sorted((budgets[name], step) for name, step in steps.items())
    epsilons = [epsilon for epsilon, _ in points]
    axes.plot([0, epsilons[-1]], [0, epsilons[-1]], **RIGHT_LINE)
    axes.plot(epsilons, [step for _, step in points], marker="o", markersize=4, color=OWN_COLOUR)
    axes.set_xlabel("epsilon")
    axes.set_ylabel("displacement")
    axes.grid(alpha=0.3)
    return True


def _draw_clip(axes: Axes, measured: Document, _: Document) -> bool:
    """Draw the lowest and highest output of each channel."""
    if "low" not in measured:
        return False
    sides = (measured["low"], measured["high"])  # of attacks of several steps, those of all channels together
    lows, highs = ([side] if isinstance(side, float) else side[:MAX_CHANNELS] for side in sides)
    axes.axhspan(0, 1, color=RIGHT_COLOUR, alpha=0.15, linewidth=0)
    heights = [high - low for low, high in zip(lows, highs, strict=True)]
    axes.bar(range(len(lows)), heights, 0.5, bottom=lows, color=OWN_COLOUR)
    axes.set_ylim(min(0.0, *lows) - 0.1, max(1.0, *highs) + 0.1)
    axes.set_xticks(range(len(lows)))
    axes.set_xlabel("channel")
    axes.set_ylabel("range of the outputs")
    return True
