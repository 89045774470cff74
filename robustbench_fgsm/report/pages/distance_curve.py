"""Drawing of accuracy over every epsilon, by distances, for a page: SVG that needs no script."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from markupsafe import Markup

from robustbench_fgsm.report.attacks_in_runs import ReportedAttack
from robustbench_fgsm.report.documents.distance_curve import Steps, distance_curves, drawn_width
from robustbench_fgsm.report.pages.svg_chart import LINE_COLOURS, ChartLine, ChartPoint, draw_chart, rate_point

TOOLTIPS = 32
"""Places of the x axis that have a tooltip."""

DOTS = 1000
"""Places of the x axis that a drawing tells apart."""


def draw_distance_curves(subjects: Sequence[ReportedAttack]) -> Markup:
    """Return the curves of all attacks that measured distances as one chart with its legend; empty if none did."""
    named = [
        (f"{subject.name}{', stable where saturated' if kind == 'stable' else ''}", place, kind == "stable", steps)
        for place, subject in enumerate(subjects)
        for kind, steps in distance_curves(subject.evaluation)
    ]
    if not named:
        return Markup()
    largest = drawn_width([steps for *_, steps in named]) or 1.0
    lines = [_curve(name, steps, largest, place, dashed=dashed) for name, place, dashed, steps in named]
    ticks = [(share * largest, f"{255 * share * largest:.3g}/255" if share else "0") for share in (0, 0.25, 0.5, 0.75, 1)]
    label = "Accuracy in per cent over every epsilon, by distances, with 95 % bands"
    return draw_chart(lines, ticks, name="distance-curves", label=label, x_title="epsilon", y_title="accuracy, %")


def _curve(name: str, steps: Steps, largest: float, place: int, *, dashed: bool) -> ChartLine:
    """Return the curve of one attack up to the largest budget; of steps closer than a dot, the last is drawn."""
    budgets = [epsilon for epsilon, _ in steps]

    def point(epsilon: float) -> ChartPoint:
        _, rate = steps[max(0, bisect_right(budgets, epsilon) - 1)]
        return rate_point(epsilon, f"epsilon {255 * epsilon:.3g}/255", rate.to_dict())

    places = {round(DOTS * epsilon / largest): epsilon for epsilon in budgets if epsilon <= largest}
    marks = tuple(point(largest * at / TOOLTIPS) for at in range(TOOLTIPS + 1))
    points = tuple(point(epsilon) for epsilon in sorted({budgets[0], *places.values(), largest}))
    return ChartLine(name, points, marks, place % LINE_COLOURS, dashed, steps=True)
