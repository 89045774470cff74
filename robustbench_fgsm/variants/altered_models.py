"""Networks altered as mistakes alter them: with backward hooks."""

from __future__ import annotations

from torch import Tensor, nn

from robustbench_fgsm.models.copy_module import copy_module


def guided_copy(model: nn.Module) -> nn.Module:
    """Return a copy whose ReLUs propagate positive gradients only."""
    model = copy_module(model)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
            module.register_full_backward_hook(_keep_positive_gradient)
    return model


def _keep_positive_gradient(_: nn.Module, grads: tuple[Tensor | None, ...] | Tensor, __: object) -> tuple[Tensor | None, ...]:
    """Keep positive gradients only: guided backpropagation (Springenberg et al. 2015, arXiv:1412.6806)."""
    return tuple(None if grad is None else grad.clamp(min=0) for grad in grads)
