"""Resizing and cropping are validated."""

from __future__ import annotations

import pytest

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.models.preprocessing import Preprocessing


def test_settings_of_preprocessing_are_checked() -> None:
    assert Preprocessing.square(8) == Preprocessing((8,), (8, 8))
    with pytest.raises(SettingError, match=r"resize must be positive numbers of pixels, got \(0,\)"):
        Preprocessing(resize=(0,))
    with pytest.raises(SettingError, match=r"crop must be positive numbers of pixels, got \(3, -1\)"):
        Preprocessing(crop=(3, -1))
    with pytest.raises(SettingError, match="did you mean bilinear"):
        Preprocessing((8,), interpolation="bilinea")
