"""A figure as the last value of a cell is a picture."""

from __future__ import annotations

import subprocess
import sys

import pytest
from matplotlib.figure import Figure

from robustbench_fgsm.report.figures.notebook import show_in_notebook

pytest.importorskip("IPython")

CODE = """
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.pylabtools import select_figure_formats
from matplotlib.figure import Figure
from robustbench_fgsm.report.figures.notebook import show_in_notebook
shell = InteractiveShell.instance()
shell.display_formatter.active_types = shell.display_formatter.format_types
if {own!r}:
    select_figure_formats(shell, {{{own!r}}})
figure = Figure()
figure.subplots()
formats, _ = shell.display_formatter.format(show_in_notebook(figure))
print(*sorted(formats))
"""


@pytest.mark.parametrize(("own", "expected"), [("", "image/png text/plain"), ("svg", "image/svg+xml text/plain")])
def test_a_notebook_shows_a_picture_in_its_own_format(own: str, expected: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(own=own)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_elsewhere_a_figure_is_returned_as_it_is() -> None:
    figure = Figure()
    assert show_in_notebook(figure) is figure
