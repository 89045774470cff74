"""Plain attributes of a network's modules, such as the probability of dropout, in a form that `==` compares."""

from __future__ import annotations

from torch import nn


def simple_attributes(network: nn.Module) -> dict[str, object]:
    """Return numbers and texts among the attributes of all modules by name, and the lengths of containers.

    The contents of a container are left out: `==` of those that hold tensors raises.
    """
    found: dict[str, object] = {}
    for name, module in network.named_modules():
        for attribute, value in vars(module).items():
            if attribute == "training" or attribute.startswith("_"):
                continue
            if isinstance(value, bool | int | float | complex | str):
                found[f"{name}.{attribute}"] = value
            elif isinstance(value, list | tuple | dict | set):
                found[f"{name}.{attribute}"] = len(value)
    return found
