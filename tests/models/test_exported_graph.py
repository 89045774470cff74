"""Modules of exported programs: fixed mode and batch size, and graphs that must not be attacked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.exported_graph import ExportedGraph, is_exported_graph


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3))


def exported(module: nn.Module, images: int = 4, **settings: object) -> nn.Module:
    return torch.export.export(module, (torch.rand(images, 1, 4, 4),), **settings).module()  # type: ignore[arg-type]


def test_a_fixed_batch_size() -> None:
    found = rf.wrap(exported(network().eval()), 3)
    for n in (0, 1, 4, 9):
        x = torch.rand(n, 1, 4, 4)
        assert torch.allclose(found.predict(x), rf.wrap(network(), 3).predict(x), atol=1e-6)


def test_any_batch_size() -> None:
    size = {0: torch.export.Dim("size", min=1, max=64)}
    module = exported(network().eval(), dynamic_shapes=(size,))
    graph = rf.wrap(module, 3).network.network
    assert isinstance(graph, ExportedGraph)
    assert graph.batch_size is None


def test_a_graph_in_train_mode() -> None:
    module = exported(network().train())
    assert is_exported_graph(module)
    with pytest.raises(ModelError, match=r"exported in train mode .*: call \.eval\(\) before"):
        rf.wrap(module, 3)


def test_two_inputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return (x * mask).flatten(1)

    images = torch.rand(2, 1, 2, 2)
    with pytest.raises(ModelError, match="of 2 inputs"):
        rf.wrap(torch.export.export(Two(), (images, images)).module(), 4)


def test_other_graphs_are_not_taken_for_exported() -> None:
    assert not is_exported_graph(torch.fx.symbolic_trace(network()))
