"""Each command names outputs that are no logits, and counts them as a loop by hand does once their loss is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import robustbench_fgsm as rf
from robustbench_fgsm.errors import DataError, ModelError, SettingError
from robustbench_fgsm.verification.own_network import own_network_call


class LastLayer(nn.Module):
    """A linear network with another last layer."""

    def __init__(self, last: nn.Module, num_outputs: int) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(16, num_outputs), last
        nn.init.normal_(self.layer.weight, generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.layer(x.flatten(1)))
        return outputs


IMAGES_TO_ATTACK = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LAST_LAYERS = {
    "softmax": (nn.Softmax(1), 3, "remove its softmax, or use --loss probabilities", "probabilities"),
    "one sigmoid": (nn.Sigmoid(), 1, "remove its sigmoid, or use --loss probabilities", "probabilities"),
    "sigmoids": (nn.Sigmoid(), 3, "remove its sigmoids, or use --loss bce", "bce"),
}


def attacked_by(command: str, model: rf.TorchClassifier, place: Path, **loss: Any) -> object:
    """Run a command of the library on 12 images."""
    labels = torch.arange(12) % model.num_classes
    images = rf.ArrayDataset("letters", IMAGES_TO_ATTACK, labels, tuple("abc"[: model.num_classes]))
    if command == "transfer":
        return rf.transfer([model], [model], images, **loss)
    if command == "save_adversarial":
        return rf.save_adversarial(model, images, place / "saved", **loss)
    if command == "train":
        return rf.train(model, images, epochs=1, augment="none", held_out=0)
    if command == "explain":
        return rf.explain(model, images, 0.5)
    if command == "benchmark":
        return rf.benchmark(model, images, rounds=1, memory=False, references=[])
    if command == "verify":
        return own_network_call(model, images)
    return getattr(rf, command)(model, images, **loss)


WITH_LOSS = ["evaluate", "sweep", "compare", "transfer", "save_adversarial"]
WITHOUT_LOSS = ["train", "explain", "benchmark", "verify"]


@pytest.mark.reference
@pytest.mark.parametrize("command", WITH_LOSS + WITHOUT_LOSS)
@pytest.mark.parametrize(("last", "num_outputs", "remedy", "loss"), LAST_LAYERS.values(), ids=LAST_LAYERS)
def test_each_command_names_outputs_that_are_no_logits(
    command: str, last: nn.Module, num_outputs: int, remedy: str, loss: str, tmp_path: Path
) -> None:
    model = rf.wrap(LastLayer(last, num_outputs), max(num_outputs, 2))
    with pytest.raises(ModelError, match=remedy):
        attacked_by(command, model, tmp_path)
    if command in WITH_LOSS:
        assert attacked_by(command, model, tmp_path, loss=loss) is not None
    else:
        assert attacked_by(command, rf.wrap(LastLayer(nn.Identity(), num_outputs), max(num_outputs, 2)), tmp_path) is not None


@pytest.mark.reference
@pytest.mark.parametrize("last", [nn.Sigmoid(), nn.Identity()])
@pytest.mark.parametrize("command", WITH_LOSS + WITHOUT_LOSS)
def test_multi_label_models_of_one_class_an_image(command: str, last: nn.Module, tmp_path: Path) -> None:
    model = rf.wrap(LastLayer(last, 3), 3, task="multilabel")
    if command in WITHOUT_LOSS:
        with pytest.raises(ModelError, match=f"{command} needs a multi-class model"):
            attacked_by(command, model, tmp_path)
        return
    with pytest.raises(DataError, match="use --loss bce"):
        attacked_by(command, model, tmp_path)
    result = attacked_by(
        command, rf.wrap(LastLayer(last, 3), 3), tmp_path, loss="bce" if isinstance(last, nn.Sigmoid) else "bce-with-logits"
    )
    if command == "compare":
        assert result.references[0].verdict == "agree"  # type: ignore[attr-defined]


def by_hand(network: nn.Module, loss: Callable[[Tensor], Tensor]) -> Tensor:
    leaf = IMAGES_TO_ATTACK.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(network(leaf)), leaf)
    return (IMAGES_TO_ATTACK + 8 / 255 * gradient.sign()).clamp(0, 1)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_sigmoids_count_as_by_hand(batch_size: int) -> None:
    network, labels = LastLayer(nn.Sigmoid(), 3), torch.arange(12) % 3
    x_adv = by_hand(network, lambda p: functional.binary_cross_entropy(p, functional.one_hot(labels).float(), reduction="sum"))
    images = rf.ArrayDataset("letters", IMAGES_TO_ATTACK, labels, tuple("abc"))
    found = rf.evaluate(rf.wrap(network, 3), images, loss="bce", batch_size=batch_size)
    assert found.clean_accuracy.count == int((network(IMAGES_TO_ATTACK).argmax(1) == labels).sum())
    assert found.tallies[0].robust_accuracy.count == int((network(x_adv).argmax(1) == labels).sum())


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("optimize", ["none", "safe", "max"])
def test_one_sigmoid_counts_as_by_hand(batch_size: int, optimize: str) -> None:
    network, labels = LastLayer(nn.Sigmoid(), 1), torch.arange(12) % 2
    x_adv = by_hand(network, lambda p: functional.binary_cross_entropy(p[:, 0], labels.float(), reduction="sum"))
    images = rf.ArrayDataset("letters", IMAGES_TO_ATTACK, labels, tuple("ab"))
    found = rf.evaluate(rf.wrap(network, 2), images, loss="probabilities", batch_size=batch_size, optimize=optimize)
    assert found.clean_accuracy.count == int(((network(IMAGES_TO_ATTACK)[:, 0] > 0.5) == labels).sum())
    assert found.tallies[0].robust_accuracy.count == int(((network(x_adv)[:, 0] > 0.5) == labels).sum())


def test_unknown_task() -> None:
    with pytest.raises(SettingError, match="did you mean multilabel"):
        rf.wrap(LastLayer(nn.Sigmoid(), 3), 3, task="multi-label")  # type: ignore[arg-type]


def test_an_output_that_is_never_positive() -> None:
    images = rf.ArrayDataset("letters", IMAGES_TO_ATTACK, torch.arange(12) % 2, tuple("ab"))
    model = rf.wrap(LastLayer(nn.LogSigmoid(), 1), 2)
    assert any("--loss log-probabilities" in text for text in rf.evaluate(model, images).warnings)
    assert not any("--loss" in text for text in rf.evaluate(model, images, loss="log-probabilities").warnings)


@pytest.mark.parametrize(("last", "loss"), [(nn.Sigmoid(), "ce"), (nn.Identity(), "probabilities")])
def test_a_target_with_one_output_of_another_kind(last: nn.Module, loss: str) -> None:
    images = rf.ArrayDataset("letters", IMAGES_TO_ATTACK, torch.arange(12) % 2, tuple("ab"))
    source = nn.Identity() if loss == "ce" else nn.Sigmoid()
    models = [rf.wrap(LastLayer(one, 1), 2) for one in (source, last)]
    with pytest.raises(ModelError, match="model must return"):
        rf.transfer(models[:1], models[1:], images, loss=loss)


def test_a_target_with_softmax_only_predicts() -> None:
    images = rf.ArrayDataset("letters", IMAGES_TO_ATTACK, torch.arange(12) % 3, tuple("abc"))
    source, target = LastLayer(nn.Identity(), 3), LastLayer(nn.Softmax(1), 3)
    target.layer.load_state_dict(source.layer.state_dict())
    found = rf.transfer([rf.wrap(source, 3)], [rf.wrap(source, 3), rf.wrap(target, 3)], images)
    assert found.robust_accuracy(0, 0) == found.robust_accuracy(0, 1)
