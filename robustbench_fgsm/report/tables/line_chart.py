"""A line chart in plain characters, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Curve = Sequence[tuple[float, float]]
"""Points (x, y) in ascending x, y in [0, 1]."""

CURVE_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def draw_line_chart(curves: Sequence[Curve], ticks: Sequence[tuple[float, str]], *, width: int = 64, height: int = 10) -> str:
    """Return curves as text, at most width + 6 columns wide and height + 3 lines high.

    The points of the curves are the letters A, B, ..., with dots between. Letters of points that coincide stand side by side.

    Args:
        curves: the curves, over x from 0.
        ticks: values of x and their labels. A label that would touch another is left out; the last one is always shown.
        width: characters of the x axis.
        height: lines of the y axis, which runs from 0 to 100 per cent.
    """
    largest = max(x for curve in curves for x, _ in curve) or 1.0
    canvas = [[" "] * (width + 1) for _ in range(height + 1)]
    for curve in curves:
        for column in range(width + 1):
            y = _interpolate(curve, column / width * largest)
            if y is not None:
                canvas[round((1 - y) * height)][column] = "."
    for mark, curve in zip(CURVE_LETTERS * len(curves), curves, strict=False):
        for x, y in curve:
            row, column = canvas[round((1 - y) * height)], round(x / largest * width)
            beside = (column + sign * step for step in range(len(curves)) for sign in (1, -1))
            free = (place for place in beside if 0 <= place <= width and row[place] in (" ", ".", mark))
            row[next(free, column)] = mark
    lines = [f"{100 - row * 100 // height:>4} |{''.join(cells)}".rstrip() for row, cells in enumerate(canvas)]
    return "\n".join([*lines, f"     +{'-' * (width + 1)}", _axis(ticks, largest, width)])


def _interpolate(curve: Curve, x: float) -> float | None:
    for (left, low), (right, high) in pairwise(curve):
        if left <= x <= right:
            return low + (high - low) * (x - left) / (right - left)
    return None


def _axis(ticks: Sequence[tuple[float, str]], largest: float, width: int) -> str:
    line = [" "] * (width + 8)
    for x, label in sorted(ticks, reverse=True):
        start = 6 + round(x / largest * width)
        start = min(start, len(line) - len(label))
        if all(cell == " " for cell in line[max(0, start - 1) : start + len(label) + 1]):
            line[start : start + len(label)] = label
    return "".join(line).rstrip()
