"""Documents of evaluations and sweeps, measured once on small networks whose weights do not matter."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.evaluation.result import sweep_document
from robustbench_fgsm.report.loaded_run import LoadedRun, load_run
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun as Kept
from robustbench_fgsm.spec import AttackSpec

Document = dict[str, Any]


class Sharp(nn.Module):
    """Ten classes, so sure of them that most images are saturated."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(36, 32), nn.ReLU(), nn.Linear(32, 10))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.scale * self.layers(4 * (x - 0.5))
        return logits


def subject(scale: float, num_classes: int = 10, n: int = 60) -> tuple[rf.TorchClassifier, rf.ArrayDataset]:
    """A classifier, and images that it takes for what they are labelled, but for every sixth."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, 1, 6, 6, generator=generator)
    network = Sharp(scale)
    if num_classes != 10:
        network.layers[3] = nn.Linear(32, num_classes)
    names = tuple(f"class {label}" for label in range(num_classes))
    classifier = rf.wrap(network, num_classes, classes=names, device="cpu")
    labels = classifier.predict(x).argmax(1)
    labels[::6] = (labels[::6] + 1) % num_classes
    return classifier, rf.ArrayDataset("drawn", x, labels, names)


@pytest.fixture(scope="session")
def rivals(tmp_path_factory: pytest.TempPathFactory) -> list[LoadedRun]:
    """Three kept runs over the same images: a network, the same less sure of its classes, and the same less accurate."""
    root, found = tmp_path_factory.mktemp("rivals"), []
    for place, noise in enumerate((0.0, 0.03, 0.1)):
        classifier, data = subject(1.0)
        with torch.no_grad():
            for parameter in classifier.network.parameters():
                drawn = torch.rand(parameter.shape, generator=torch.Generator().manual_seed(place)) - 0.5
                parameter.add_(noise * drawn)
        plan = Plan(batch_size=16 + place, threads=1)
        spec = AttackSpec((2 / 255, 8 / 255))
        evaluate_in_directory(Kept("evaluate", classifier, data, (spec,), plan), root / f"run {place}", max_example_images=0)
        found.append(load_run(root / f"run {place}"))
    return found


@pytest.fixture(scope="session")
def measured() -> Callable[..., Document]:
    """The document of a sweep, or of its first evaluation where there is one budget."""
    made: dict[object, Document] = {}

    def document(epsilons: str = "8/255", scale: float = 1.0, num_classes: int = 10, **options: Any) -> Document:
        key = (epsilons, scale, num_classes, repr(options))
        if key not in made:
            classifier, data = subject(scale, num_classes)
            found = rf.sweep(classifier, data, epsilons, **options)
            made[key] = found[0].to_dict() if len(found[0].tallies) == 1 else sweep_document(found)
        return copy.deepcopy(made[key])

    return document
