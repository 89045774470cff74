"""Drawing of accuracy over every epsilon, by distances, for a page: SVG that needs no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from robustbench_fgsm.report.attacks_in_runs import ReportedAttack
from robustbench_fgsm.report.documents.distance_curve import Steps, distance_curves, drawn_width
from robustbench_fgsm.report.pages.layout import jinja_environment

WIDTH, HEIGHT = 720, 260
LEFT, TOP = 42, 10
COLOURS = 7
"""Colours `--s0` to `--s6` of the style sheet."""


@dataclass(frozen=True)
class DrawnCurve:
    """Curve of one attack as points of SVG: a line of steps, and its 95 % band."""

    name: str
    colour: int
    dashed: bool
    line: str
    band: str


def draw_distance_curves(subjects: Sequence[ReportedAttack]) -> Markup:
    """Return the curves of all attacks that measured distances as one SVG element with its legend; empty if none did."""
    named = [
        (f"{subject.name}{', stable where saturated' if kind == 'stable' else ''}", place, kind == "stable", steps)
        for place, subject in enumerate(subjects)
        for kind, steps in distance_curves(subject.evaluation)
    ]
    if not named:
        return Markup()
    largest = drawn_width([steps for *_, steps in named]) or 1.0
    curves = [DrawnCurve(name, place % COLOURS, dashed, *_points(steps, largest)) for name, place, dashed, steps in named]
    ticks = [(_x(share, 1.0), f"{255 * share * largest:.3g}/255" if share else "0") for share in (0, 0.25, 0.5, 0.75, 1)]
    grid = [(_y(share), f"{100 * share:.0f}") for share in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    template = jinja_environment().get_template("distance_curve.html.jinja")
    return Markup(template.render(curves=curves, ticks=ticks, grid=grid, size=(WIDTH, HEIGHT), left=LEFT, top=TOP))  # noqa: S704


def _points(steps: Steps, largest: float) -> tuple[str, str]:
    """Return the points of the line and of its band, up to the largest budget that is drawn."""
    shown = [(epsilon, rate) for epsilon, rate in steps if epsilon <= largest]
    columns = [[(epsilon, (rate.value or 0.0, *(rate.interval or (0.0, 1.0)))[at]) for epsilon, rate in shown] for at in range(3)]
    value, low, high = (_staircase([*column, (largest, column[-1][1])], largest) for column in columns)
    return " ".join(value), " ".join([*high, *reversed(low)])


def _staircase(points: list[tuple[float, float]], largest: float) -> list[str]:
    """Return the corners of a curve that keeps its value from each point to the next one."""
    corners, before = [], points[0][1]
    for epsilon, share in points:
        corners += [f"{_x(epsilon, largest):.1f},{_y(before):.1f}", f"{_x(epsilon, largest):.1f},{_y(share):.1f}"]
        before = share
    return corners


def _x(epsilon: float, largest: float) -> float:
    return LEFT + (WIDTH - LEFT - 30) * epsilon / largest


def _y(share: float) -> float:
    return TOP + (HEIGHT - TOP - 50) * (1 - share)
