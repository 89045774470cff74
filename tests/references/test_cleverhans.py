"""CleverHans as a reference: it defines no success."""

from __future__ import annotations

import pytest

import robustbench_fgsm as rf

pytestmark = pytest.mark.reference


def test_defines_no_success(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    pytest.importorskip("cleverhans")
    assert rf.compare(classifier, images, references=["cleverhans"]).references[0].own_success is None
