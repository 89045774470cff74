"""Example images are selected from every confusion cell, and are what the ledger records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.runs.directory import RESULT_FILE
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.kept_images import EXAMPLE_IMAGES_FILE, read_example_images

MakeClassifier = Callable[..., rf.TorchClassifier]
MakeData = Callable[..., rf.ArrayDataset]


def test_selects_four_images_of_each_cell(run: EvaluationRun, tmp_path: Path) -> None:
    evaluate_in_directory(run, tmp_path)
    kept = read_example_images(tmp_path / EXAMPLE_IMAGES_FILE)
    assert kept is not None
    cells = zip(kept.attacks.tolist(), kept.labels.tolist(), kept.predictions_after.tolist(), strict=True)
    found: dict[tuple[int, int, int], int] = {}
    for cell in cells:
        found[cell] = found.get(cell, 0) + 1
    document = json.loads((tmp_path / RESULT_FILE).read_text())
    there = {
        (attack, label, after): min(count, 4)
        for attack, evaluation in enumerate(document["evaluations"])
        for label, row in enumerate(evaluation["epsilons"][1]["confusion"])
        for after, count in enumerate(row)
        if count
    }
    assert found == there
    assert set(kept.epsilons.tolist()) == {0.2}
    whole = next(run.data.batches(0, 250, 250))
    clean, adversarial, after = map(torch.from_numpy, (kept.clean, kept.adversarial, kept.predictions_after))
    assert torch.equal(clean, whole.images[kept.ids])
    assert torch.equal(torch.from_numpy(kept.labels), whole.labels[kept.ids])
    outputs = run.classifier.predict(adversarial).softmax(1)
    assert torch.equal(outputs.argmax(1), after)
    torch.testing.assert_close(outputs.max(1).values, torch.from_numpy(kept.confidences_after))
    assert float((adversarial - clean).abs().max()) <= 0.2 + 1e-6


@pytest.mark.parametrize(("most", "expected"), [(0, None), (5, 5)])
def test_limits_the_number_of_images(run: EvaluationRun, tmp_path: Path, most: int, expected: int | None) -> None:
    evaluate_in_directory(run, tmp_path, max_example_images=most)
    kept = read_example_images(tmp_path / EXAMPLE_IMAGES_FILE)
    assert (None if kept is None else len(kept)) == expected
