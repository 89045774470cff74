"""The order of the axes of stored samples: images, features, signals and volumes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from robustbench_fgsm.errors import DataError, SettingError, did_you_mean
from robustbench_fgsm.options import ARRAY_LAYOUTS

CHANNEL_COUNTS = (1, 3)
CHANNELS_FIRST = {4: "NCHW", 5: "NCDHW"}
"""Layout with the channels behind N, by the number of axes."""

MIN_IMAGE_SIDE = 7
"""Tensors, whose channels come first by convention, have their channels last only if height and width are larger."""


def check_layout(layout: str | None) -> str | None:
    """Return the layout in capitals; raise SettingError for an unknown one."""
    if layout is not None and layout.upper() not in ARRAY_LAYOUTS:
        remedy = did_you_mean(layout.upper(), ARRAY_LAYOUTS)
        raise SettingError(f"layout must be one of {', '.join(ARRAY_LAYOUTS)}, got {layout!r}: {remedy}")
    return None if layout is None else layout.upper()


def to_channels_first(samples: Tensor, layout: str | None, data_name: str, *, ambiguous: str | None = None) -> Tensor:
    """Return a view with the channels behind N, such as (N, C, H, W); None infers the layout from the axis with 1 or 3 entries.

    ambiguous: layout of images whose shape allows several; None to raise an error. Features (N, F) stay as they are. Raises
    DataError if the layout cannot be inferred; SettingError if the samples cannot have this layout.
    """
    axes = check_layout(layout) or infer_layout(samples.shape, data_name, ambiguous)
    if len(axes) != samples.ndim:
        raise SettingError(f"layout {axes} is of {len(axes)} axes, got images {tuple(samples.shape)}: choose another")
    if axes == "NHW":
        return samples.unsqueeze(1)
    return samples.movedim(-1, 1) if axes in ("NHWC", "NLC", "NDHWC") else samples


def infer_layout(shape: Sequence[int], data_name: str, ambiguous: str | None = None) -> str:
    """Return the layout of samples of this shape; raise DataError if several are possible and `ambiguous` is None."""
    if len(shape) in (2, 3):
        return "NF" if len(shape) == 2 else "NHW"
    if len(shape) not in (4, 5):
        raise DataError(
            f"{data_name} must have samples of 2 to 5 axes (NF, NHW, NCL, NCHW, NHWC or NCDHW), got {tuple(shape)}: reshape them"
        )
    channels_first, channels_last = ("NCHW", "NHWC") if len(shape) == 4 else ("NCDHW", "NDHWC")
    first, last = shape[1] in CHANNEL_COUNTS, shape[-1] in CHANNEL_COUNTS
    if first and not last:
        return channels_first
    if last and not first and min(shape[1:-1]) > (shape[-1] if ambiguous is None else MIN_IMAGE_SIDE):
        return channels_last
    if ambiguous is not None:
        return ambiguous if len(shape) == 4 else channels_first
    raise DataError(
        f"{data_name} has images {tuple(shape)}, of which {channels_first} and {channels_last} are possible: pass --layout "
        f"(in Python, load_data(..., layout={channels_first!r}))"
    )
