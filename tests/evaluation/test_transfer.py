"""Images crafted on one model and shown to another: counts by hand, and the diagonal, which is `evaluate`."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.evaluation.transfer import make_transfer_models
from robustbench_fgsm.report.figures.transfer import draw_heat_map
from robustbench_fgsm.report.schemas import load_schema

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = ("a", "b", "c")
BUDGETS = (0.02, 0.1)


def model(seed: int, classes: int = 3, bounds: tuple[float, float] = (0, 1)) -> rf.TorchClassifier:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, classes))
    return rf.wrap(network, classes, bounds=bounds)


@pytest.fixture(scope="module")
def data() -> rf.ArrayDataset:
    """70 images that the first model takes for their labels, but for a few."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(70, 1, 6, 5, generator=generator)
    labels = model(0).predict(images).argmax(1)
    labels[::7] = (labels[::7] + 1) % 3
    return rf.ArrayDataset("drawn", images, labels, CLASSES)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"targeted": "next"},
    {"targeted": "least-likely"},
    {"targeted": "random", "seed": 3, "norm": 2},
    {"restarts": 2},
    {"loss": "margin"},
    {"stable": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_diagonal_is_evaluate(data: rf.ArrayDataset, options: dict[str, Any]) -> None:
    models = [model(seed) for seed in (0, 1)]
    found = rf.transfer(models, models, data, BUDGETS, batch_size=16, common=True, **options)
    for place, one in enumerate(models):
        (alone,) = rf.sweep(one, data, BUDGETS, **options)
        assert found.clean_accuracy(place) == alone.clean_accuracy
        for budget, tally in enumerate(alone.tallies):
            assert found.robust_accuracy(place, place, budget) == tally.robust_accuracy
            assert found.attack_success_rate(place, place, budget) == tally.attack_success_rate


def test_every_cell_by_hand(data: rf.ArrayDataset) -> None:
    models = [model(seed) for seed in (0, 1, 2)]
    found = rf.transfer(models[:2], models[1:], data, BUDGETS, batch_size=16, common=True, per_class=True)
    batch = next(data.batches(0, 70, 70))
    x, y = batch.images, batch.labels
    right = [one.predict(x).argmax(1) == y for one in models]
    for at, source in enumerate(models[:2]):
        for budget, epsilon in enumerate(BUDGETS):
            crafted = rf.fgsm(source, x, y, epsilon)
            for to, target in enumerate(models[1:], 1):
                held = target.predict(crafted).argmax(1) == y
                both, every = right[at] & right[to], right[0] & right[1] & right[2]
                place = (at, to - 1, budget)
                assert found.robust_accuracy(*place) == rf.Rate(int(held.sum()), 70)
                assert found.attack_success_rate(*place) == rf.Rate(int((both & ~held).sum()), int(both.sum()))
                assert found.common_success_rate(*place) == rf.Rate(int((every & ~held).sum()), int(every.sum()))
                cell = found.to_dict()["cells"][2 * at + to - 1]["epsilons"][budget]
                for label, result in enumerate(cell["per_class"]):
                    own = y == label
                    assert result["robust_accuracy"] == rf.Rate(int((held & own).sum()), int(own.sum())).to_dict()
                    fooled = rf.Rate(int((both & ~held & own).sum()), int((both & own).sum()))
                    assert result["attack_success_rate"] == fooled.to_dict()


def test_targeted_cell_counts_images_off_target(data: rf.ArrayDataset) -> None:
    source, target = model(0), model(1)
    found = rf.transfer([source], [target], data, 0.1, targeted="next")
    batch = next(data.batches(0, 70, 70))
    x, goal = batch.images, (batch.labels + 1) % 3
    off = (source.predict(x).argmax(1) != goal) & (target.predict(x).argmax(1) != goal)
    hit = target.predict(rf.fgsm(source, x, goal, 0.1, targeted=True)).argmax(1) == goal
    assert found.attack_success_rate(0, 0) == rf.Rate(int((hit & off).sum()), int(off.sum()))


def test_batches_change_no_count(data: rf.ArrayDataset) -> None:
    first, second = model(0), model(1)
    found = [rf.transfer([first, first], [second, first], data, batch_size=size).to_dict() for size in (1, 16, 70)]
    assert found[0]["cells"] == found[1]["cells"] == found[2]["cells"]
    assert (found[0]["sources"], found[0]["targets"], len(found[0]["models"])) == ([0], [1, 0], 2)


def test_document_fits_its_schema(data: rf.ArrayDataset) -> None:
    models = [model(seed) for seed in (0, 1)]
    validator = Draft202012Validator(load_schema("transfer"))
    asked: list[dict[str, Any]] = [{}, {"common": True, "per_class": True, "targeted": "next"}]
    for options in asked:
        document = rf.transfer(models, models, data, BUDGETS, **options).to_dict()
        validator.validate(json.loads(json.dumps(document)))
    axes = draw_heat_map(document, 0.1).axes[:2]
    texts = [text.get_text() for text in axes[0].texts]
    rates = [cell["epsilons"][1]["robust_accuracy"] for cell in document["cells"]]
    assert texts == [f"{100 * rate['value']:.1f}\nn={rate['n']}" for rate in rates]
    with pytest.raises(rf.SettingError, match="one of the run"):
        draw_heat_map(document, 0.5)


def test_a_target_needs_no_gradient(data: rf.ArrayDataset) -> None:
    class Answers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model(1).network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                outputs: torch.Tensor = self.inner(x)
                return outputs.softmax(1)

    hidden = rf.wrap(Answers(), 3)
    cells = [rf.transfer([model(0)], [target], data, BUDGETS).to_dict()["cells"] for target in (hidden, model(1))]
    assert cells[0] == cells[1]
    with pytest.raises(rf.ModelError, match="must return logits"):
        rf.transfer([hidden], [model(0)], data)


def test_nonfinite_gradient_is_invalid(data: rf.ArrayDataset) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model(0).network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.inner(x)
            return outputs + 0 * (x[:, :1, 0, 0] - x[:, :1, 0, 0]).sqrt()

    found = rf.transfer([rf.wrap(Broken(), 3)], [model(1)], data)
    assert found.exit_code == 1
    assert "not finite" in found.invalid_reasons[0]


def test_rejects_incompatible_models(data: rf.ArrayDataset) -> None:
    with pytest.raises(rf.ModelError, match="same number of classes"):
        make_transfer_models([model(0)], [model(1, classes=4)])
    with pytest.raises(rf.ModelError, match="same bounds"):
        make_transfer_models([model(0)], [model(1, bounds=(0, 255))])
    with pytest.raises(rf.SettingError, match="a source and a target"):
        make_transfer_models([model(0)], [])
    wide = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(31, 3)), 3)
    with pytest.raises(rf.ModelError, match="must accept images of shape"):
        rf.transfer([model(0)], [wide], data)
