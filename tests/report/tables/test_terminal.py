"""Sheets in a terminal."""

from __future__ import annotations

from rich.console import Console

from robustbench_fgsm.report.tables.sheet import Summary, matrix_sheet
from robustbench_fgsm.report.tables.terminal import render_summary
from tests.report.printed import printed, unwrapped


def test_thirteen_classes_become_pairs() -> None:
    for count in (12, 13):
        matrix = [[1] * count for _ in range(count)]
        text = unwrapped(matrix_sheet("before", "Before", matrix, [f"class {label}" for label in range(count)]))
        assert ("Before: label down, prediction across" in text) == (count == 12)
        assert ("Before: the pairs most often confused" in text) == (count == 13)


def pairs(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.startswith("c")]


def test_shows_the_ten_most_confused_pairs() -> None:
    names = [f"c{label}" for label in range(13)]
    matrix = [[0] * 13 for _ in range(13)]
    matrix[0][0] = 999
    for column in range(1, 13):
        matrix[2][column] = column
    expected = [["c2", f"c{column}", str(column)] for column in (12, 11, 10, 9, 8, 7, 6, 5, 4, 3)]
    assert pairs(printed(matrix_sheet("before", "Before", matrix, names))) == expected


def test_pairs_of_a_sparse_matrix() -> None:
    names = [f"c{label}" for label in range(101)]
    matrix = {"shape": [101, 101], "rows": [0, 5, 100], "columns": [0, 6, 2], "counts": [50, 3, 9]}
    assert pairs(printed(matrix_sheet("before", "Before", matrix, names))) == [["c100", "c2", "9"], ["c5", "c6", "3"]]


def test_indented_sentences_wrap_below_themselves() -> None:
    console = Console(width=40)
    with console.capture() as capture:
        console.print(render_summary(Summary(("run",), closing=("Notes:", f"  {'word ' * 12}"))))
    assert [line[:6] for line in capture.get().splitlines()[-2:]] == ["  word", "  word"]


def test_reasons_have_the_colour_of_the_verdict() -> None:
    console = Console(color_system="standard", force_terminal=True, width=80)
    with console.capture() as capture:
        console.print(render_summary(Summary(("run",), closing=("DISAGREE: ours", "  4 pixels", "AGREE: theirs", "Intervals"))))
    red, green = "\x1b[1;31m", "\x1b[1;32m"
    assert capture.get() == f"run\n{red}DISAGREE: ours\x1b[0m\n  \x1b[31m4 pixels\x1b[0m\n{green}AGREE: theirs\x1b[0m\nIntervals\n"
