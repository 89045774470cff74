"""The order of the axes of stored images."""

from __future__ import annotations

import pytest
import torch

from robustbench_fgsm.data.axes import to_channels_first
from robustbench_fgsm.errors import DataError, SettingError


@pytest.mark.parametrize("shape", [(2, 3, 5, 3), (2, 4, 5, 6), (2, 1, 4, 1)])
def test_rejects_an_ambiguous_layout(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="of which NCHW and NHWC are possible: pass --layout"):
        to_channels_first(torch.rand(shape), None, "x")
    assert to_channels_first(torch.rand(shape), "NHWC", "x").shape == (shape[0], shape[3], shape[1], shape[2])


def test_rejects_wrong_layouts() -> None:
    with pytest.raises(SettingError, match=r"layout must be one of NCHW, NHWC, NHW, .*, got 'CHW': did you mean"):
        to_channels_first(torch.rand(2, 3, 4, 4), "CHW", "x")
    with pytest.raises(SettingError, match=r"layout NHW is of 3 axes, got images \(2, 3, 4, 4\)"):
        to_channels_first(torch.rand(2, 3, 4, 4), "NHW", "x")
