"""Response curves of a candidate."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from robustbench_fgsm.report.figures.curves import encode_figure
from robustbench_fgsm.report.figures.verification import draw_responses
from tests.report.verifications import NAMELESS, THRESHOLD, UNMEASURED, Document, verification


def test_displacement_over_magnitude() -> None:
    direction, _, _ = draw_responses(verification(direction=THRESHOLD)).axes
    right, own = direction.lines
    assert direction.get_title() == "direction: WRONG"
    np.testing.assert_array_equal(right.get_ydata(), [1, 1, 1])
    np.testing.assert_array_equal(own.get_ydata(), [0, 0.5, 1])
    np.testing.assert_allclose(np.asarray(own.get_xdata(), float), np.array([1e-8, 1e-6, 1e-1]) * 10**0.5)


@pytest.mark.parametrize(("entry", "steps"), [({}, [0.0101, 0.0437]), (NAMELESS, [0.01, 0.02])])
def test_displacement_over_epsilon(entry: Document, steps: list[float]) -> None:
    _, size, _ = draw_responses(verification(size=entry)).axes
    right, own = size.lines
    np.testing.assert_array_equal(right.get_xdata(), right.get_ydata())
    np.testing.assert_array_equal(own.get_xdata(), [0.0101, 0.0437])
    np.testing.assert_allclose(np.asarray(own.get_ydata(), float), steps)


def test_range_of_each_channel() -> None:
    _, _, clip = draw_responses(verification(clip={"measured": {"low": [-0.1, 0.0], "high": [1.0, 1.2]}})).axes
    bars = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in clip.patches[-2:] if isinstance(bar, Rectangle)]
    np.testing.assert_allclose(bars, [[-0.1, 1.0], [0.0, 1.2]])


def test_what_is_not_measured_is_said() -> None:
    document = verification(direction=UNMEASURED, size=UNMEASURED, clip=UNMEASURED)
    for axes in draw_responses(document).axes:
        assert axes.get_title().endswith(": unmeasured")
        assert [text.get_text() for text in axes.texts] == ["no numbers"]


def test_equal_documents_give_equal_files() -> None:
    first, second = (encode_figure(draw_responses(verification(direction=THRESHOLD)), "png") for _ in range(2))
    assert first == second


def test_attacks_of_several_steps_have_no_curve_of_sizes() -> None:
    document = verification(
        size={"measured": {"sizes": {"0.0437": 0.0109}}}, clip={"measured": {"low": -0.1, "high": 1.0, "order": "after"}}
    )
    _, size, clip = draw_responses(document).axes
    assert not size.lines
    assert any(isinstance(bar, Rectangle) and bar.get_y() == pytest.approx(-0.1) for bar in clip.patches)
