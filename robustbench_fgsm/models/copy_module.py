"""Take a network out of its wrappers, and copy it, also after it has run and if it keeps tensors of its forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robustbench_fgsm.attack.network_call import check_has_weights
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.exported_graph import ExportedGraph, is_exported_graph, wrap_exported_graph
from robustbench_fgsm.user_code import user_code


def copy_module(module: nn.Module, shared: Sequence[Tensor] = ()) -> nn.Module:
    """Return a copy of the module; tensors that it keeps of a forward pass lose their gradient history, as PyTorch requires.

    shared: tensors that the copy shares with the module. Raises ModelError if a lazy layer has no weights yet, or if a part of the
    module cannot be copied.
    """
    check_has_weights(module)
    remedy = "define __deepcopy__ or __getstate__ in the model"
    with user_code("model must work with copy.deepcopy", ModelError, remedy), torch.no_grad(), _DetachedCopies():
        return copy.deepcopy(module, {id(tensor): tensor for tensor in shared})  # TorchScript's parameters: by a computation


def unwrap_module(module: nn.Module) -> nn.Module:
    """Return the network inside torch.compile, DataParallel and DistributedDataParallel, which compute the same numbers.

    The module of an exported program gets the interface of `ExportedGraph`. Raises ModelError if it was exported in train mode.
    """
    while True:
        if "_orig_mod" in module._modules:
            module = module.get_submodule("_orig_mod")
        elif isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        else:
            return wrap_exported_graph(module) if is_exported_graph(module) else module


def is_recorded(module: nn.Module) -> bool:
    """Return True if a part is TorchScript or an exported program, which may have a precision and a memory layout recorded."""
    return any(isinstance(part, torch.jit.ScriptModule | ExportedGraph) for part in module.modules())


def make_trainable(network: nn.Module) -> nn.Module:
    """Return the network, with gradients for all parameters that can have one; integers cannot."""
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
    return network


class _DetachedCopies(TorchFunctionMode):
    """Mode in which `copy.deepcopy` detaches computed tensors, such as features; without it PyTorch refuses to copy them."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))
