"""Result of a training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.training.loop import fit
from robustbench_fgsm.training.recipe import TrainingRecipe
from robustbench_fgsm.training.watch import CatastrophicOverfitting


@pytest.fixture(scope="module")
def training(patterns: rf.ArrayDataset) -> rf.Training:
    return rf.train("mlp300", patterns.head(128), epochs=2, batch_size=32, held_out=32, epsilon=0.05)


def test_epochs_are_the_last_checks(training: rf.Training) -> None:
    assert [(check.epoch, check.quarter) for check in training.epochs] == [(1, 4), (2, 4)]


def test_keeps_the_last_check_by_default(training: rf.Training) -> None:
    assert training.best is None
    assert training.kept == training.checks[-1]
    assert replace(training, best=0).kept == training.checks[0]


def test_overfitting_is_a_warning(training: rf.Training) -> None:
    assert training.warnings == []
    overfitting = CatastrophicOverfitting(1, 2, "fell", "accuracy fell")
    (warning,) = replace(training, overfitting=overfitting).warnings
    assert warning == "catastrophic overfitting: accuracy fell; its last weights are kept"
    (warning,) = replace(training, overfitting=overfitting, best=0).warnings
    assert warning == "catastrophic overfitting: accuracy fell; the weights of an earlier check are kept"


def test_document(training: rf.Training) -> None:
    document = training.to_dict()
    assert (document["schema"], document["exit_code"], document["n"]) == ("rfgsm.training/1", 0, 96)
    assert document["checks"] == [check.to_dict() for check in training.checks]
    assert document["kept"] == document["checks"][-1]


@pytest.mark.reference
def test_outputs_that_are_not_finite_make_it_invalid(patterns: rf.ArrayDataset) -> None:
    class NanInEvaluation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(144, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z: torch.Tensor = self.linear(x.flatten(1))
            return z if self.training else z.masked_fill((torch.arange(len(z)) == 0).unsqueeze(1), torch.nan)

    recipe = TrainingRecipe("standard", 0.1, epochs=1, held_out=32)
    with pytest.warns(RuntimeWarning, match="1 of 32 images have outputs that are not finite"):
        found = fit(rf.wrap(NanInEvaluation(), 6), patterns.head(128), recipe)
    document = found.to_dict()
    assert (document["status"], document["exit_code"]) == ("invalid", 1)
    assert found.kept.nonfinite_outputs == 1
    assert found.invalid_reasons[0].startswith("1 of 32 held-out images")
