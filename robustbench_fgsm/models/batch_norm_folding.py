"""Folding of batch norm into the preceding convolution: fewer passes over the activations, with other rounding errors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn
from torch.fx import GraphModule, Node, symbolic_trace
from torch.nn.utils.fusion import fuse_conv_bn_weights

from robustbench_fgsm.models.classifier import PixelSpaceNetwork
from robustbench_fgsm.models.copy_module import copy_module
from robustbench_fgsm.models.packed_convolution import has_additions, is_ordinary

CONVOLUTION_TYPES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORM_TYPES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batch_norm(network: nn.Module) -> nn.Module | None:
    """Return a copy of a network in evaluation mode whose batch norms are folded into the convolutions that feed only them.

    None if there is nothing to fold, if a module has a hook or a replaced method, or if the network cannot be traced because its
    control flow depends on its input.
    """
    if isinstance(network, PixelSpaceNetwork):
        inner = fold_batch_norm(network.network)
        if inner is None:
            return None
        return copy.deepcopy(network, {id(network.network): inner})
    if not any(isinstance(module, BATCH_NORM_TYPES) for module in network.modules()):
        return None
    if any(map(has_additions, network.modules())):  # tracing would run them
        return None
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    try:
        graph = symbolic_trace(copy_module(network, [*shared.values()]))  # no copy of weights that are to be replaced
    except Exception:  # noqa: BLE001  (a user's forward pass runs here on symbols, and may raise any error)
        return None
    pairs = _foldable_pairs(graph)
    if not pairs:
        return None
    for before, after in pairs:
        _fold_pair(graph, before, after)
    graph.delete_all_unused_submodules()
    graph.recompile()
    _copy_shared_tensors(graph, shared)
    return graph.eval().requires_grad_(False)


def _foldable_pairs(graph: GraphModule) -> list[tuple[Node, Node]]:
    """Return convolutions and the batch norms that alone read them, if each module is called once and nothing reads its weights."""
    modules = dict(graph.named_modules())
    read = {str(node.target).rpartition(".")[0] for node in graph.graph.nodes if node.op == "get_attr"}
    calls = [node for node in graph.graph.nodes if node.op == "call_module"]
    called = [node.target for node in calls]
    found = []
    for after in calls:
        before = after.args[0] if after.args else None
        if not isinstance(before, Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        pair = modules[str(before.target)], modules[str(after.target)]
        alone = called.count(before.target) == called.count(after.target) == 1 and not {before.target, after.target} & read
        ordinary = all(map(is_ordinary, pair)) and type(pair[0]) in CONVOLUTION_TYPES
        if alone and ordinary and _is_foldable_batch_norm(pair[1]):
            found.append((before, after))
    return found


def _is_foldable_batch_norm(module: nn.Module) -> bool:
    """Return True for a batch norm that uses stored statistics."""
    return isinstance(module, BATCH_NORM_TYPES) and module.running_mean is not None and not module.training


def _fold_pair(graph: GraphModule, before: Node, after: Node) -> None:
    """Replace the pair by one convolution, computed in float64 and rounded once."""
    convolution, norm = graph.get_submodule(str(before.target)), graph.get_submodule(str(after.target))
    convolution.weight, convolution.bias = _folded_parameters(convolution, norm)
    after.replace_all_uses_with(before)
    graph.graph.erase_node(after)


def _folded_parameters(convolution: nn.Module, batch_norm: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    """Return weight and bias of the folded convolution."""
    one, two = cast("nn.Conv2d", convolution), cast("nn.BatchNorm2d", batch_norm)
    weight, bias = fuse_conv_bn_weights(
        one.weight.double(),
        None if one.bias is None else one.bias.double(),
        cast("Tensor", two.running_mean).double(),
        cast("Tensor", two.running_var).double(),
        two.eps,
        two.weight.double() if two.affine else None,
        two.bias.double() if two.affine else None,
    )
    return nn.Parameter(weight.to(one.weight.dtype), False), nn.Parameter(bias.to(one.weight.dtype), False)


def _copy_shared_tensors(graph: GraphModule, shared: Mapping[int, Tensor]) -> None:
    """Replace tensors that the graph still shares with the original network by copies."""
    for module in graph.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in shared:
                setattr(module, name, nn.Parameter(parameter.detach().clone(), False))
        for name, buffer in module.named_buffers(recurse=False):
            if id(buffer) in shared:
                setattr(module, name, buffer.clone())
