"""Matrices of pages that need no script."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from robustbench_fgsm.report.pages.matrix import MAX_PICTURE_SIDE, draw_confusion_matrix
from robustbench_fgsm.stats.confusion import matrix_from_json
from tests.report.runs import HOSTILE, wide

Measured = Callable[..., dict[str, Any]]


def test_cells_hold_the_counts(measured: Measured) -> None:
    document = measured()
    document["data"]["classes"][0] = HOSTILE
    text = draw_confusion_matrix(document, document["epsilons"][0]["confusion"])
    counts = [int(count) for count in re.findall(r"<td[^>]*>(\d+)</td>", text)]
    assert counts == [count for row in document["epsilons"][0]["confusion"] for count in row]
    assert re.findall(r'<td class="(right|wrong)', text) == [("right" if a == b else "wrong") for a in range(10) for b in range(10)]
    assert HOSTILE not in text
    assert html.escape(HOSTILE) in text


def test_many_classes_are_a_picture(measured: Measured) -> None:
    document = wide(measured(), num_classes=60, n=600, budgets=1)
    text = draw_confusion_matrix(document, document["epsilons"][0]["confusion"])
    (data,) = re.findall(r"base64,([^\"]*)", text)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))
    assert ((picture < 255) == (matrix_from_json(document["epsilons"][0]["confusion"]) > 0)).all()


def test_too_many_classes_are_left_to_the_script(measured: Measured) -> None:
    document = measured()
    document["data"]["classes"] = ["a"] * (MAX_PICTURE_SIDE + 1)
    assert draw_confusion_matrix(document, {"shape": [2001, 2001], "rows": [], "columns": [], "counts": []}) == ""
