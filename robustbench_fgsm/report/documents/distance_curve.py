"""Accuracy over every epsilon up to the largest distance tried: the share of images whose distance is larger."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.line_chart import CURVE_LETTERS, draw_line_chart
from robustbench_fgsm.report.tables.text import count_text
from robustbench_fgsm.stats.rate import Rate

SHOWN_SHARE = 0.01
"""Share of the images at which a drawing of the curve ends, because the rest of it is flat."""

Steps = list[tuple[float, Rate]]
"""Budgets, ascending, and the share of the images whose distance is larger than each: it falls at each budget."""


def distance_curves(evaluation: Document) -> Iterator[tuple[str, Steps]]:
    """Yield name and steps of the curve along ordinary gradients, and along stable ones if these are shown."""
    found = evaluation.get("distance") or {}
    for name, side in (("ordinary", found), ("stable", found.get("stable"))):
        if side and side["n"]:
            curve = side["curve"]
            rates = (Rate(count, side["n"]) for count in curve["count"])
            yield name, list(zip(curve["epsilon"], rates, strict=True))


def drawn_width(curves: list[Steps]) -> float:
    """Return the budget at which a drawing ends: from there on, every curve lies below 1 % or is flat."""
    return max(next((epsilon for epsilon, rate in steps if (rate.value or 0) <= SHOWN_SHARE), steps[-1][0]) for steps in curves)


def distance_chart(evaluation: Document) -> str:
    """Return the curve of an evaluation in characters, with its legend; empty if no distances were measured."""
    named = list(distance_curves(evaluation))
    if not named:
        return ""
    width = drawn_width([steps for _, steps in named])
    curves = [[(epsilon, rate.value or 0.0) for epsilon, rate in steps if epsilon <= width] for _, steps in named]
    legend = "".join(
        f"  {mark} {name} gradients\n" for mark, (name, _) in zip(CURVE_LETTERS, named, strict=False) if len(named) > 1
    )
    ticks = [(share * width, f"{255 * share * width:.3g}/255" if share else "0") for share in (0, 0.25, 0.5, 0.75, 1)]
    title = f"Accuracy in per cent over epsilon: share of {count_text(evaluation['n'], 'image')} whose distance is larger"
    return f"{title}\n{legend}{draw_line_chart(curves, ticks)}"
