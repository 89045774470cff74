"""Networks altered as mistakes alter them: another mode or precision, backward hooks, or moved batch statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustbench_fgsm.models.copy_module import copy_module
from robustbench_fgsm.variants.attack_call import AttackCall

HALF_DTYPE_BY_NAME = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class _CastModel(nn.Module):
    """A network in another precision that takes images of any precision."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.network(x.to(self.dtype))
        return outputs


@contextmanager
def seeded_cpu_generator(seed: int) -> Iterator[None]:
    """Seed the CPU generator inside the block, and restore it afterwards."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)  # torch.manual_seed is slow: it asks every device
    try:
        yield
    finally:
        torch.set_rng_state(state)


def altered_model(model: nn.Module, mode: str, backward: str) -> nn.Module:
    """Return a copy in this mode or precision and with the hooks of this backward pass, or the model if nothing changes."""
    if mode in ("eval", "autocast to bfloat16") and backward == "true":
        return model
    model = copy_module(model)
    if mode == "train":
        model.train()
    if backward == "guided":
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
                module.register_full_backward_hook(_keep_positive_gradient)
    return _CastModel(model, HALF_DTYPE_BY_NAME[mode]) if mode in HALF_DTYPE_BY_NAME else model


def model_with_drifted_statistics(model: nn.Module, call: AttackCall, mode: str, backward: str) -> nn.Module:
    """Return a copy whose batch norm ran in train mode on the images of earlier calls, and of this call if the mode says so."""
    calls = [one for one in call.earlier_calls if one.model is call.model]
    model = copy_module(altered_model(model, "eval", backward)).train()
    with torch.no_grad(), seeded_cpu_generator(0):
        for one in [*calls, call] if mode == "statistics drift before" else calls:
            model(one.x)
    return model.eval()


def _keep_positive_gradient(_: nn.Module, grads: tuple[Tensor | None, ...] | Tensor, __: object) -> tuple[Tensor | None, ...]:
    """Keep positive gradients only: guided backpropagation (Springenberg et al. 2015, arXiv:1412.6806)."""
    return tuple(None if grad is None else grad.clamp(min=0) for grad in grads)
