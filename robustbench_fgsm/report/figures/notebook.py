"""Figures in notebooks: as pictures, also if nothing has imported pyplot."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show_in_notebook(figure: Figure) -> Figure:
    """Return the figure; IPython, if it runs, shows figures as PNG from now on, unless it has a format for them already."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        from IPython.core.pylabtools import select_figure_formats

        formatters = shell.display_formatter.formatters.values()
        if not any(type(figure) in formatter.type_printers for formatter in formatters):
            select_figure_formats(shell, {"png"}, bbox_inches=None)  # type: ignore[no-untyped-call]
    return figure
