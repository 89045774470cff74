"""Numbers of features: plain numbers from arrays, to JSON and back without a change."""

from __future__ import annotations

import json
import math
import operator
from typing import Any

import numpy as np
import pytest
import torch

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.feature_values import (
    MAX_VALUES,
    iter_values,
    map_values,
    parse_feature_values,
    values_from_json,
    values_shape,
    values_to_json,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (np.float32(0.1), float(np.float32(0.1))),
        ([1, 2], (1.0, 2.0)),
        (np.array([[1.5], [2.5]]), ((1.5,), (2.5,))),
        (torch.tensor([0.1, 0.2]), (float(np.float32(0.1)), float(np.float32(0.2)))),
        ([torch.tensor(1.0), np.float64(2)], (1.0, 2.0)),
        (-math.inf, -math.inf),
    ],
)
def test_arrays_become_plain_numbers(value: object, expected: object) -> None:
    found = parse_feature_values("bounds", value, "try 1")
    assert found == expected
    assert hash(found) is not None


@pytest.mark.parametrize("value", ["1,2", None, [1, "2"], [[1, 2], [3]], [], [[]], math.nan, [1, math.nan], True, {1: 2}, 1j])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(SettingError, match=r"^bounds must be .*: try 1$"):
        parse_feature_values("bounds", value, "try 1")


def test_an_array_of_too_many_numbers_is_refused_before_it_is_read() -> None:
    with pytest.raises(SettingError, match="at most 1,000,000 numbers"):
        parse_feature_values("bounds", torch.zeros(1).expand(MAX_VALUES + 1), "try 1")


def test_functions_map_over_arrays_and_numbers() -> None:
    rows = ((1.0, 2.0), (3.0, 4.0))
    assert map_values(operator.sub, rows, 1.0) == ((0.0, 1.0), (2.0, 3.0))
    assert map_values(operator.sub, 5.0, 1.0) == 4.0
    assert (values_shape(rows), [*iter_values(rows)]) == ((2, 2), [1, 2, 3, 4])


@pytest.mark.parametrize("values", [0.1, math.inf, (float(np.float32(0.1)), math.inf), ((1e-45,), (3e38,))])
def test_json_holds_the_same_numbers(values: Any) -> None:
    text = json.dumps(values_to_json(values), allow_nan=False)
    assert values_from_json(json.loads(text), math.inf) == values


@pytest.mark.parametrize("wrong", ["1", True, [1, [2]], {"a": 1}])
def test_json_of_others_is_refused(wrong: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        values_from_json(wrong, math.inf)
