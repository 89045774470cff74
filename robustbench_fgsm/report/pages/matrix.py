"""Confusion matrix of a page as it is drawn without a script: a table of coloured cells, or a picture of many classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.pages.images import data_url
from robustbench_fgsm.report.pages.layout import jinja_environment
from robustbench_fgsm.stats.confusion import matrix_from_json

MAX_CELLS = 40
"""Most classes of a matrix that is a table."""

MAX_PICTURE_SIDE = 2000
"""Most classes of a matrix that is a picture; larger ones need a script."""

RIGHT_COLOUR, WRONG_COLOUR = (0, 90, 148), (163, 71, 0)


def draw_confusion_matrix(evaluation: Document, confusion: Any) -> Markup:
    """Return the confusion after an attack as HTML: counts, coloured by their share of the row; empty for too many classes."""
    names = evaluation["data"]["classes"]
    if len(names) > MAX_PICTURE_SIDE:
        return Markup()
    counts = matrix_from_json(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    strength = np.rint(100 * shares**0.6).astype(int)
    template = jinja_environment().get_template("matrix.html.jinja")
    if len(names) > MAX_CELLS:
        return Markup(template.render(picture=_picture(strength)))  # noqa: S704
    strength = np.where(counts > 0, np.maximum(strength, 6), 0)
    rows = [list(zip(*row, strict=True)) for row in zip(counts.tolist(), strength.tolist(), strict=True)]
    return Markup(template.render(picture="", names=names, rows=rows))  # noqa: S704


def _picture(strength: Any) -> str:
    """Return a picture of a matrix on white, a dot for each cell."""
    colours = np.where(np.eye(len(strength), dtype=bool)[..., None], RIGHT_COLOUR, WRONG_COLOUR)
    opacity = np.where(strength > 0, np.maximum(strength, 15), 0)[..., None] / 100
    return data_url(np.rint(255 + (colours - 255) * opacity).astype(np.uint8))
