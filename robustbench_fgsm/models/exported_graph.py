"""Graphs recorded by torch.export: fixed mode, and a batch size that may be fixed."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from robustbench_fgsm.errors import ModelError

TRAINING_ARGUMENTS = ("training", "train")
"""Arguments by which an operator runs in train mode."""


class ExportedGraph(nn.Module):
    """Recorded graph, which stays in its recorded mode, run in batches of the size that it accepts.

    batch_size: None if the graph accepts any size; otherwise the last batch is filled with copies of its last image.
    """

    def __init__(self, graph: nn.Module, batch_size: int | None = None) -> None:
        super().__init__()
        self.graph = graph
        self.batch_size = batch_size

    def train(self, mode: bool = True) -> ExportedGraph:
        """Set only the flag: PyTorch's exported graphs refuse to change their mode."""
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, K) of images."""
        size = self.batch_size
        if size is None:
            return self._logits(x)
        if not len(x):
            return self._logits(x.new_zeros(size, *x.shape[1:]))[:0]
        filled = torch.cat([x, x[-1:].expand(-len(x) % size, *x.shape[1:])])
        parts = [self._logits(filled[start : start + size]) for start in range(0, len(filled), size)]
        return torch.cat(parts)[: len(x)]

    def _logits(self, x: Tensor) -> Tensor:
        outputs = self.graph(x)
        logits: Tensor = outputs[0] if isinstance(outputs, (tuple, list)) and len(outputs) == 1 else outputs
        return logits


def is_exported_graph(module: nn.Module) -> bool:
    """Return True for `ExportedProgram().module()`, whose own `train` refuses to change the mode."""
    return isinstance(module, fx.GraphModule) and "train" in vars(module)


def wrap_exported_graph(module: nn.Module) -> ExportedGraph:
    """Return the module of an exported program behind one interface; raise ModelError if it was exported in train mode."""
    graph: fx.Graph = module.graph  # type: ignore[assignment]
    check_evaluation_mode(graph, "model")
    images = [node.meta.get("val") for node in graph.nodes if node.op == "placeholder"]
    if len(images) != 1:
        raise ModelError(f"model must take images alone, got an exported program of {len(images)} inputs: export it with one input")
    size = images[0].shape[0] if isinstance(images[0], Tensor) and images[0].ndim else None
    return ExportedGraph(module, size if isinstance(size, int) else None)


def check_evaluation_mode(graph: fx.Graph, name: str) -> None:
    """Raise ModelError if an operator of the graph was recorded in train mode; name: the graph's name in the message."""
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        names = [argument.name for argument in schema.arguments] if schema is not None else []
        arguments = dict(zip(names, node.args, strict=False)) | node.kwargs
        if any(arguments.get(argument) is True for argument in TRAINING_ARGUMENTS):
            raise ModelError(f"{name} was exported in train mode ({node.target}): call .eval() before torch.export.export")
