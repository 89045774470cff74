"""An ART estimator's model and outputs, described and made two."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.art_engine import describe_model, ensure_two_outputs, one_hot_predictions, to_logits


def fitted(**settings: float) -> LogisticRegression:
    random = np.random.default_rng(0)
    return LogisticRegression(**settings).fit(random.random((40, 6)), np.arange(40) % 3)


def test_hash_depends_on_the_arrays() -> None:
    one, other = describe_model(fitted()), describe_model(fitted(C=0.1))
    assert one == describe_model(fitted())
    assert one.sha256 != other.sha256
    assert (one.spec, one.weights) == ("LogisticRegression", "given")
    network = nn.Linear(3, 2)
    assert describe_model(network).parameters == 8
    assert (describe_model(object()).parameters, describe_model(object()).sha256) == (0, "")


def test_one_output_becomes_two() -> None:
    logit, probability = torch.tensor([2.0]), torch.tensor([[0.25]])
    assert ensure_two_outputs(logit, nn.BCEWithLogitsLoss()).tolist() == [[0.0, 2.0]]
    assert ensure_two_outputs(probability, nn.BCELoss()).tolist() == [[0.75, 0.25]]
    with pytest.raises(ModelError, match="which may be a logit or a probability"):
        ensure_two_outputs(logit, nn.MSELoss())


def test_predicts_the_first_of_equal_outputs() -> None:
    assert one_hot_predictions(torch.tensor([[1.0, 1.0, 0.0]]), 3).tolist() == [[1, 0, 0]]


def test_probabilities_become_finite_logits() -> None:
    logits = to_logits(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    assert logits.isfinite().all()
    torch.testing.assert_close(logits[1], torch.tensor([0.5, 0.5]).log())
    assert to_logits(torch.tensor([[3.0, -1.0]])).tolist() == [[3.0, -1.0]]
