"""Numbers of samples in any form, as a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from robustbench_fgsm.data.pixels import to_sample_tensor
from robustbench_fgsm.errors import DataError

VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 32


@pytest.mark.parametrize(
    "samples",
    [VALUES, VALUES.astype(">f4"), VALUES.tolist(), torch.tensor(VALUES), VALUES.astype(np.longdouble), VALUES.astype(np.float16)],
)
def test_forms_of_the_same_numbers(samples: object) -> None:
    assert torch.equal(to_sample_tensor(samples, "x").float(), torch.tensor(VALUES))


def test_takes_views_of_arrays() -> None:
    assert torch.equal(to_sample_tensor(VALUES[:, ::-1], "x"), torch.tensor(VALUES[:, ::-1].copy()))
    frozen = VALUES.copy()
    frozen.flags.writeable = False
    assert torch.equal(to_sample_tensor(frozen, "x"), torch.tensor(VALUES))


def test_shares_memory() -> None:
    own = VALUES.copy()
    assert to_sample_tensor(own, "x").data_ptr() == own.ctypes.data


@pytest.mark.parametrize(
    ("samples", "message", "remedied"),
    [
        (np.full((2, 2, 2), 200), "got int64 .*: convert them to uint8", np.full((2, 2, 2), 200).astype("uint8")),
        (np.full((2, 2, 2), 2000), "divide them by their largest possible value", np.full((2, 2, 2), 2000 / 65535, np.float32)),
        (np.full((2, 2, 2), 200, np.uint16), "got uint16 .*: divide them by", np.full((2, 2, 2), 200 / 65535, np.float32)),
        (np.full((2, 2), 7), "got int64 .*: pass features as float32", np.full((2, 2), 7).astype("float32")),
        (torch.full((2, 2, 2), 200), r"images\.byte\(\)", torch.full((2, 2, 2), 200).byte()),
        (torch.ones(2, 2, 2, dtype=torch.bool), r"pass images\.float\(\)", torch.ones(2, 2, 2)),
        (torch.full((2, 2), 7), r"as in features\.float\(\)", torch.full((2, 2), 7).float()),
        (np.full((2, 2, 2), -3, np.int8), r"scaled from \[-3, -3\]", np.full((2, 2, 2), 125 / 255, np.float32)),
        (VALUES > 0.5, "got bool .*: pass images.astype", (VALUES > 0.5).astype("float32")),
        (VALUES.astype(np.complex64), "got complex64 .*: pass the magnitude", np.abs(VALUES.astype(np.complex64))),
        (np.ma.array(VALUES, mask=VALUES > 0.5), r"pass array.filled\(0\)", np.ma.array(VALUES, mask=VALUES > 0.5).filled(0)),
        (np.array(["a"]), "must hold numbers, got an array of <U1", None),
        ([[1.0], [1.0, 2.0]], "images of one shape", None),
        (torch.eye(3).to_sparse(), r"images must be a dense tensor, got .*: pass images\.to_dense\(\)", torch.eye(3)),
    ],
)
def test_refuses_other_numbers_with_a_remedy(samples: Any, message: str, remedied: Any) -> None:
    with pytest.raises(DataError, match=message):
        to_sample_tensor(samples, "x")
    if remedied is not None:
        to_sample_tensor(remedied, "x")
