"""Tests of robustbench_fgsm.models.module_attributes."""

from __future__ import annotations

import torch
from torch import nn

from robustbench_fgsm.models.module_attributes import simple_attributes


def test_numbers_texts_and_lengths() -> None:
    layer = nn.Dropout(0.25)
    vars(layer).update(sizes=[1, 2], kind="plain", held=(torch.zeros(2), torch.ones(2)))
    network = nn.Sequential(layer)
    found = simple_attributes(network)
    assert (found["0.p"], found["0.sizes"], found["0.kind"], found["0.held"]) == (0.25, 2, "plain", 2)
    assert not any(name.endswith("training") for name in found)
    assert simple_attributes(network) == found  # tuples of tensors do not compare
    layer.p = 0.5
    assert simple_attributes(network) != found
