"""A training keeps its checkpoint, weights and log in its directory, and is continued there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.runs.directory import MANIFEST_FILE, RESULT_FILE, TRAINING_LOG_FILE
from robustbench_fgsm.runs.resume import reload_training_run
from robustbench_fgsm.runs.train import CHECKPOINT_FILE, TrainingRun, create_untrained_classifier, train_in_directory
from robustbench_fgsm.training.recipe import TrainingRecipe

RECIPE = TrainingRecipe(epochs=1, batch_size=8, held_out=0, keep="last")


@pytest.fixture
def training_run(classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> TrainingRun:
    """One epoch on 25 images."""
    return TrainingRun(classifier, data, RECIPE)


def test_a_directory_holds_all_files(training_run: TrainingRun, tmp_path: Path) -> None:
    train_in_directory(training_run, tmp_path)
    assert {MANIFEST_FILE, RESULT_FILE, CHECKPOINT_FILE, TRAINING_LOG_FILE} < {file.name for file in tmp_path.iterdir()}


def test_weights_are_equal_without_a_directory(training_run: TrainingRun, tmp_path: Path) -> None:
    kept, bare = train_in_directory(training_run, tmp_path), train_in_directory(training_run, None)
    for one, other in zip(kept.classifier.network.parameters(), bare.classifier.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_finished_training_returns_its_result(training_run: TrainingRun, tmp_path: Path) -> None:
    first = train_in_directory(training_run, tmp_path).to_dict()
    assert train_in_directory(training_run, tmp_path).to_dict()["kept"] == first["kept"]


def test_rejects_another_recipe(training_run: TrainingRun, tmp_path: Path) -> None:
    train_in_directory(training_run, tmp_path)
    other = TrainingRun(training_run.classifier, training_run.data, TrainingRecipe(epochs=2, batch_size=8, held_out=0, keep="last"))
    with pytest.raises(rf.RunError, match=r"recipe\.epochs 1 there, 2 now"):
        train_in_directory(other, tmp_path)


def test_an_untrained_network_follows_its_seed() -> None:
    data = rf.load_data("fashion-mnist", limit=2)
    first, same, other = (create_untrained_classifier("mlp300", data, seed=seed, device="cpu") for seed in (0, 0, 1))
    assert first.info.sha256 == same.info.sha256 != other.info.sha256


def test_a_manifest_gives_the_training_again(training_run: TrainingRun, tmp_path: Path) -> None:
    train_in_directory(training_run, tmp_path)
    again = reload_training_run(tmp_path, training_run.classifier, training_run.data)
    assert (again.recipe, again.max_bad) == (RECIPE, 0)
