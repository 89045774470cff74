"""Networks that are not as they should be: in another mode or precision, with hooks, or with moved statistics."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustbench_fgsm.variants.attack_call import Scene

HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class _Cast(nn.Module):
    """A network in another precision, for images of any."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.network(x.to(self.dtype))
        return outputs


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The CPU's generator seeded inside, and as it was afterwards: torch.manual_seed is slow, for it asks every device."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def altered(model: nn.Module, mode: str, backward: str) -> nn.Module:
    """The network itself, or a copy in that mode or precision, and with the hooks of that way back."""
    if mode in ("eval", "autocast to bfloat16") and backward == "true":
        return model
    model = copy.deepcopy(model)
    if mode == "train":
        model.train()
    if backward == "guided":
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
                module.register_full_backward_hook(_positive)
    return _Cast(model, HALF[mode]) if mode in HALF else model


def drifted(model: nn.Module, scene: Scene, mode: str, backward: str) -> nn.Module:
    """A copy whose batch norm has seen earlier calls in train mode, and this one too where it happens before."""
    calls = [call for call in scene.before if call.model is scene.model]
    model = copy.deepcopy(altered(model, "eval", backward))
    _drift(model, [*calls, scene] if mode == "statistics drift before" else calls)
    return model


def _positive(_: nn.Module, grads: tuple[Tensor | None, ...] | Tensor, __: object) -> tuple[Tensor | None, ...]:
    """Guided backpropagation (Springenberg et al. 2015, arXiv:1412.6806): only what is positive goes on down."""
    return tuple(None if grad is None else grad.clamp(min=0) for grad in grads)


def _drift(model: nn.Module, calls: list[Scene]) -> None:
    """Let batch norm see the images of these calls in train mode."""
    model.train()
    with torch.no_grad(), seeded(0):
        for call in calls:
            model(call.x)
    model.eval()
