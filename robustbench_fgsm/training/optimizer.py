"""PyTorch's optimizer and learning-rate schedule of a recipe."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR

from robustbench_fgsm.training.recipe import TrainingRecipe


def build_optimizer(network: nn.Module, recipe: TrainingRecipe, total_steps: int) -> tuple[Optimizer, LRScheduler]:
    """Return the recipe's optimizer and its schedule, which takes one step for each batch.

    `sgd` uses Nesterov momentum 0.9. `one-cycle` raises the learning rate to its maximum over the first 30 % of the steps.
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
