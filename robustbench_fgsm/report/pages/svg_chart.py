"""Line charts of shares with 95 % bands as SVG that needs no script; a script adds a legend to click and tooltips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.pages.layout import jinja_environment
from robustbench_fgsm.report.tables.text import rate_text

SIZES = ((960, 340), (380, 300))
"""Width and height of the drawing for wide and for narrow windows; the style sheet shows one of them."""

LEFT, RIGHT, TOP, BOTTOM = 42, 30, 26, 46
LINE_COLOURS = 10
"""Colours `--s0` to `--s9` of the style sheet."""

MARKERS = (
    "MX Ym-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
    "MX Ym-4 -4h8v8h-8z",
    "MX Ym0 -5l5 9h-10z",
    "MX Ym0 -5l5 5l-5 5l-5 -5z",
    "MX Ym0 5l5 -9h-10z",
)
"""Paths of markers around a point (X, Y)."""

TICK_WIDTH = 46


@dataclass(frozen=True)
class ChartPoint:
    """Point of a line with the ends of its interval, all shares, and what a tooltip says about it."""

    x: float
    value: float
    low: float
    high: float
    tip: str


@dataclass(frozen=True)
class ChartLine:
    """Line of a chart in ascending x. steps: each value holds until the next point; `marks` have tooltips."""

    name: str
    points: tuple[ChartPoint, ...]
    marks: tuple[ChartPoint, ...]
    colour: int
    dashed: bool = False
    steps: bool = False


def rate_point(x: float, x_text: str, rate: Document) -> ChartPoint:
    """Return the point of a rate as JSON holds it, at x."""
    low, high = (rate["value"] if rate[end] is None else rate[end] for end in ("low", "high"))
    return ChartPoint(x, rate["value"], low, high, f"{x_text}: {rate_text(rate)} %, n={rate['n']:,}")


def rate_line(name: str, rates: Sequence[tuple[float, str, Document]], colour: int, *, dashed: bool = False) -> ChartLine:
    """Return the line of rates (x, text of x, rate); rates without a value are left out."""
    points = tuple(rate_point(*rate) for rate in sorted(rates, key=lambda one: one[0]) if rate[2]["value"] is not None)
    return ChartLine(name, points, points, colour % LINE_COLOURS, dashed)


def draw_chart(
    lines: Sequence[ChartLine],
    ticks: Sequence[tuple[float, str]],
    *,
    name: str,
    label: str,
    x_title: str,
    y_title: str,
    now: float | None = None,
    moments: Sequence[tuple[float, str, str]] = (),
) -> Markup:
    """Return a chart of shares over x from 0, once for wide and once for narrow windows, with its legend.

    Args:
        lines: the lines.
        ticks: places of the x axis with their texts; a text that would touch another is left out, the last one never.
        name: id of the element.
        label: what the chart shows, for readers that do not see it.
        x_title: name of the x axis.
        y_title: name of the y axis with its unit.
        now: place of the dotted line that a slider moves.
        moments: places of other lines, each with its text and its class of the style sheet.
    """
    largest = max([at for at, _ in ticks], default=0.0) or 1.0

    def x(at: float, width: int) -> float:
        return round(LEFT + (width - LEFT - RIGHT) * at / largest, 2)

    def y(share: float, height: int) -> float:
        return round(TOP + (height - TOP - BOTTOM) * (1 - share), 2)

    def corners(line: ChartLine, end: str, width: int, height: int) -> list[str]:
        made, before = [], None
        for point in line.points:
            place = y(getattr(point, end), height)
            if line.steps and before is not None:
                made.append(f"{x(point.x, width)},{before}")
            made.append(f"{x(point.x, width)},{place}")
            before = place
        return made

    def band(line: ChartLine, width: int, height: int) -> str:
        return " ".join([*corners(line, "high", width, height), *reversed(corners(line, "low", width, height))])

    def path(line: ChartLine, width: int, height: int) -> str:
        return " ".join(corners(line, "value", width, height))

    def spaced_ticks(width: int) -> list[tuple[float, str]]:
        kept: list[tuple[float, str]] = []
        for at, text in sorted(set(ticks), reverse=True):
            if not kept or x(kept[-1][0], width) - x(at, width) > TICK_WIDTH:
                kept.append((at, text))
        return kept

    drawn = (
        jinja_environment()
        .get_template("chart.html.jinja")
        .render(
            id=name,
            label=label,
            x_title=x_title,
            y_title=y_title,
            now=now,
            moments=moments,
            lines=lines,
            largest=largest,
            sizes=SIZES,
            left=LEFT,
            right=RIGHT,
            markers=MARKERS,
            x=x,
            y=y,
            band=band,
            path=path,
            ticks=spaced_ticks,
        )
    )
    return Markup(drawn)  # noqa: S704  (escaped by the template)
