"""Networks that are not as they should be: in another mode or precision, with hooks, or with moved statistics."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustbench_fgsm.variants.attack_call import AttackCall

HALF_DTYPE_BY_NAME = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class _CastModel(nn.Module):
    """A network in another precision, for images of any."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.network(x.to(self.dtype))
        return outputs


@contextmanager
def seeded_cpu_generator(seed: int) -> Iterator[None]:
    """The CPU's generator seeded inside, and as it was afterwards: torch.manual_seed is slow, for it asks every device."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def altered_model(model: nn.Module, mode: str, backward: str) -> nn.Module:
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
                module.register_full_backward_hook(_keep_positive_gradient)
    return _CastModel(model, HALF_DTYPE_BY_NAME[mode]) if mode in HALF_DTYPE_BY_NAME else model


def model_with_drifted_statistics(model: nn.Module, attack_call: AttackCall, mode: str, backward: str) -> nn.Module:
    """A copy whose batch norm has seen earlier calls in train mode, and this one too where it happens before."""
    calls = [call for call in attack_call.earlier_calls if call.model is attack_call.model]
    model = copy.deepcopy(altered_model(model, "eval", backward))
    _update_batch_norm(model, [*calls, attack_call] if mode == "statistics drift before" else calls)
    return model


def _keep_positive_gradient(_: nn.Module, grads: tuple[Tensor | None, ...] | Tensor, __: object) -> tuple[Tensor | None, ...]:
    """Guided backpropagation (Springenberg et al. 2015, arXiv:1412.6806): only what is positive goes on down."""
    return tuple(None if grad is None else grad.clamp(min=0) for grad in grads)


def _update_batch_norm(model: nn.Module, calls: list[AttackCall]) -> None:
    """Let batch norm see the images of these calls in train mode."""
    model.train()
    with torch.no_grad(), seeded_cpu_generator(0):
        for call in calls:
            model(call.x)
    model.eval()
