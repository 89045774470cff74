"""Optimiser and schedule by name, both PyTorch's."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR

from robustbench_fgsm.training.recipe import TrainingRecipe


def build_optimizer(network: nn.Module, recipe: TrainingRecipe, total_steps: int) -> tuple[Optimizer, LRScheduler]:
    """The recipe's optimiser, and its schedule over so many steps, which is stepped once a batch.

    `sgd` has momentum 0.9 with Nesterov's correction. `one-cycle` rises to the learning rate over 30 % of the steps.
    """
    chosen: Optimizer
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adam":
        chosen = Adam(network.parameters(), rate, weight_decay=decay)
    else:
        chosen = SGD(network.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=decay)
    if recipe.schedule == "one-cycle":
        return chosen, OneCycleLR(chosen, rate, total_steps=total_steps)
    if recipe.schedule == "cosine":
        return chosen, CosineAnnealingLR(chosen, total_steps)
    return chosen, ConstantLR(chosen, factor=1.0)
