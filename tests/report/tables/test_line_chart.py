"""A curve in plain characters."""

from __future__ import annotations

import pytest

from robustbench_fgsm.report.tables.line_chart import draw_line_chart


def test_a_straight_line_by_hand() -> None:
    text = draw_line_chart([[(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]], [(0.0, "0"), (0.5, "x"), (1.0, "1")], width=4, height=4)
    assert text.splitlines() == [" 100 |A", "  75 | .", "  50 |  A", "  25 |   .", "   0 |    A", "     +-----", "      0 x 1"]


def test_letters_of_common_points_stand_side_by_side() -> None:
    one, other = [(0.0, 1.0), (1.0, 0.0)], [(0.0, 1.0), (1.0, 1.0)]
    first, *_, last = draw_line_chart([one, other], [], width=10, height=4).splitlines()[:5]
    assert first.startswith(" 100 |AB")
    assert first.endswith("B")
    assert last.endswith("A")


@pytest.mark.parametrize("count", [2, 3, 8])
def test_every_letter_of_equal_curves_is_seen(count: int) -> None:
    text = draw_line_chart([[(0.0, 1.0), (1.0, 0.5)]] * count, [])
    rows = [line for line in text.splitlines() if any(letter.isalpha() for letter in line)]
    assert [set(line) & set("ABCDEFGH") for line in rows] == [set("ABCDEFGH"[:count])] * 2


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_any_number_of_points_fits(count: int) -> None:
    points = [(k / 255, 1 - k / count) for k in range(count + 1)]
    text = draw_line_chart([points], [(x, f"{x * 255:g}/255") for x, _ in points])
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()
    assert f"{count}/255" in text.splitlines()[-1]


def test_labels_have_space_between() -> None:
    ticks = [(k / 40, f"{k}/40") for k in range(41)]
    axis = draw_line_chart([[(0.0, 1.0), (1.0, 0.0)]], ticks).splitlines()[-1]
    assert set(axis.split()) <= {label for _, label in ticks}


def test_a_single_zero_budget() -> None:
    assert "A" in draw_line_chart([[(0.0, 0.7)]], [(0.0, "0")])
