"""The bundled networks have the shapes they claim."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet18

from robustbench_fgsm.models.architectures import ARCHITECTURES, MLP, SmallCNN
from robustbench_fgsm.models.classifier import count_parameters


@pytest.mark.parametrize("hidden", [300, 600, 900])
def test_an_mlp_is_two_layers(hidden: int) -> None:
    network = ARCHITECTURES[f"mlp{hidden}"]()
    assert count_parameters(network) == (784 * hidden + hidden) + (hidden * 10 + 10)


def test_smallcnn_is_small() -> None:
    assert count_parameters(ARCHITECTURES["smallcnn"]()) == 204_778 <= 300_000


def test_resnet18_is_that_of_torchvision() -> None:
    torch.manual_seed(0)
    ours = ARCHITECTURES["resnet18"]()
    torch.manual_seed(0)
    theirs = resnet18(num_classes=10)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))
    assert [type(one) for one in ours.modules() if not list(one.children())] == [
        type(one) for one in theirs.modules() if not list(one.children())
    ]
    for size in (28, 64):
        x = torch.rand(4, 3, size, size)
        assert torch.equal(ours(x), theirs(x))  # in train mode, which updates statistics
        assert torch.equal(ours.eval()(x), theirs.eval()(x))
        ours.train(), theirs.train()
    assert count_parameters(ours) == 11_181_642  # torchvision's 11,689,512 for 1,000 classes, less 990 outputs of 513


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_one_logit_per_class(name: str) -> None:
    channels = 3 if name == "resnet18" else 1
    network = ARCHITECTURES[name]().eval()
    assert network(torch.rand(2, channels, 28, 28)).shape == (2, 10)


def test_another_number_of_classes_and_channels() -> None:
    assert SmallCNN(channels=3, num_classes=7)(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    assert MLP(5, inputs=12, num_classes=4)(torch.rand(2, 3, 2, 2)).shape == (2, 4)


def test_mlp_uses_dropout_only_in_training() -> None:
    torch.manual_seed(0)
    network, x = MLP(300), torch.rand(1, 1, 28, 28)
    assert not torch.equal(network(x), network(x))
    assert torch.equal(network.eval()(x), network(x))
