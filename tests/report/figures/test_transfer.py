"""Heat map of a transfer."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.report.figures.transfer import draw_heat_map
from tests.report.runs import HOSTILE, crossed


def test_cells_hold_the_rates() -> None:
    document = crossed()
    robust, success, *_ = draw_heat_map(document, 64 / 255).axes
    for axes, name in ((robust, "robust_accuracy"), (success, "attack_success_rate")):
        rates = [cell["epsilons"][1][name] for cell in document["cells"]]
        assert [text.get_text().splitlines()[1] for text in axes.texts] == [f"n={rate['n']}" for rate in rates]
        np.testing.assert_allclose(np.asarray(axes.images[0].get_array()).ravel(), [100 * rate["value"] for rate in rates])


def test_frames_the_diagonal() -> None:
    """The targets are the sources in reverse, so that source is target off the diagonal of the matrix."""
    robust, success, *_ = draw_heat_map(crossed()).axes
    for axes in (robust, success):
        centres = [(patch.get_x() + 0.46, patch.get_y() + 0.46) for patch in axes.patches]  # type: ignore[attr-defined]
        np.testing.assert_allclose(centres, [(1, 0), (0, 1)], atol=1e-9)


def test_long_names_are_shortened() -> None:
    document = crossed()
    for model in document["models"]:
        model["spec"] = f"$x${HOSTILE}"
    robust, *_ = draw_heat_map(document).axes
    labels = [label.get_text() for label in robust.get_xticklabels()]
    assert all(label.startswith(r"\$x\$</script>") and label.endswith("…") for label in labels)


def test_rejects_an_absent_epsilon() -> None:
    with pytest.raises(SettingError, match="epsilon must be one of the run, 4/255, 64/255, got 5/255"):
        draw_heat_map(crossed(), 5 / 255)
