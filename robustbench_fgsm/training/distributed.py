"""What several processes of one training exchange: gradients, the statistics of batch norm, and what could not be read."""

from __future__ import annotations

import copy
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.distributed import World
from robustbench_fgsm.errors import DataError, IncompleteError, ModelError, SettingError
from robustbench_fgsm.stats.tally import Int64Array
from robustbench_fgsm.training.adversarial_batch import autocast
from robustbench_fgsm.training.recipe import TrainingRecipe

MIN_IMAGES_PER_PROCESS = 2
"""Images of a step for each process: batch norm needs two."""


class TrainingObjective(nn.Module):
    """The loss of a recipe on one process's images: one forward call for each backward pass, as PyTorch's averaging asks."""

    def __init__(self, network: nn.Module, recipe: TrainingRecipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe

    def forward(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Mean loss over the images (N, ...), for `fgsm` mixed of clean and crafted ones."""
        with autocast(x.device, self.recipe.precision):
            loss = cross_entropy(self.network(x_adv), y)
            if self.recipe.method == "fgsm":
                loss = self.recipe.mix * cross_entropy(self.network(x), y) + (1 - self.recipe.mix) * loss
        return loss


def check_processes(world: World, recipe: TrainingRecipe, device: torch.device) -> None:
    """Raise SettingError where so many processes cannot train by the recipe on such a device."""
    if recipe.batch_size < MIN_IMAGES_PER_PROCESS * world.size:
        raise SettingError(
            f"batch size must give each of {world.size} processes {MIN_IMAGES_PER_PROCESS} images, got {recipe.batch_size}: "
            f"try --batch-size {MIN_IMAGES_PER_PROCESS * world.size} or fewer processes"
        )
    if world.size > 1 and device.type == "cuda" and world.local_rank >= torch.cuda.device_count():
        raise SettingError(
            f"train needs a GPU for each process of a machine, got {torch.cuda.device_count()} for process "
            f"{world.local_rank + 1}: start fewer, or pass --device cpu"
        )


def synchronise_batch_norm(network: nn.Module, world: World, device: torch.device) -> nn.Module:
    """The network with batch norm over all processes' images where they are on GPUs; elsewhere PyTorch has none."""
    if world.size == 1 or device.type != "cuda":
        return network
    converted: nn.Module = SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return converted


def wrap_distributed(objective: nn.Module, world: World, x: Tensor, y: Tensor) -> nn.Module:
    """The objective, whose backward pass leaves the mean gradient over all processes in each; all begin with rank 0's weights.

    x, y: a few images (N, ...) and labels (N,), by which parameters are found that take no part in the loss: PyTorch waits
    for their gradients unless it is told to look for them in every step, which takes time. Statistics of batch norm are left
    to `share_statistics`.
    """
    device, idle = x.device, any(world.gather(has_unused_parameters(objective, x, y)))
    devices = [device] if device.type == "cuda" else None
    known = signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # PyTorch renames it
    left_alone: dict[str, Any] = {name: False}
    return DistributedDataParallel(objective, device_ids=devices, find_unused_parameters=idle, **left_alone)


def has_unused_parameters(objective: nn.Module, x: Tensor, y: Tensor) -> bool:
    """Whether a parameter takes no part in the loss of these images; a copy is asked, and the generators stay as they were."""
    tried = copy.deepcopy(objective).train()
    with torch.random.fork_rng([x.device] if x.device.type == "cuda" else []):
        loss = tried(x, x, y)
    parameters = [parameter for parameter in tried.parameters() if parameter.requires_grad]
    return any(found is None for found in torch.autograd.grad(loss, parameters, allow_unused=True))


def compute_loss(objective: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    """The objective's loss.

    Raises ModelError where several processes cannot go on, because the network left out parameters in the step before that
    it had used in others.
    """
    try:
        loss: Tensor = objective(x, x_adv, y)
    except RuntimeError as error:
        if "finished reduction" not in str(error):
            raise
        raise ModelError(
            "a network that several processes train must use the same parameters in every step, got one that left some out: "
            "train it in one process"
        ) from error
    return loss


def backward(loss: Tensor, world: World) -> None:
    """Gradients of the loss by the parameters; raises IncompleteError where a process was lost meanwhile."""
    try:
        torch.autograd.backward(loss)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if world.size == 1 or not _is_connection_error(error):
            raise
        raise IncompleteError(
            f"all processes must stay until the training is done, but one was lost ({str(error).splitlines()[0][:120]}): "
            "the same command continues it"
        ) from error


def _is_connection_error(error: RuntimeError) -> bool:
    """Whether it is about other processes; gloo's errors are plain ones."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower()


def average_batch_norm_statistics(network: nn.Module, world: World) -> None:
    """Give all processes the mean of what each one's batch norm has seen, so that their networks stay the same."""
    found = [
        statistic
        for module in network.modules()
        if isinstance(module, _BatchNorm) and not isinstance(module, SyncBatchNorm)
        for statistic in (module.running_mean, module.running_var)
        if statistic is not None
    ]
    if world.size == 1 or not found:
        return
    means = world.mean(torch.cat([statistic.flatten() for statistic in found]))
    for statistic, mean in zip(found, torch.split(means, [statistic.numel() for statistic in found]), strict=True):
        statistic.copy_(mean.view_as(statistic))


def count_images(num_images: int, bad: set[BadSample], known_bad: int, world: World) -> Int64Array:
    """Images (processes,) that each process has in this step.

    bad: samples that could not be had, of which `known` were there before; those of all processes afterwards.
    """
    own = np.zeros((2, world.size), np.int64)
    own[:, world.rank] = num_images, len(bad) - known_bad
    told: Int64Array = world.sum(own)
    if told[1].any():
        bad.update(*world.gather(frozenset(bad)))
    counts: Int64Array = told[0]
    return counts


def process_loss_weight(counts: Int64Array, world: World) -> float:
    """Weight of this process's mean loss, so that the mean over the processes is the mean over all their images (`count`).

    Raises DataError where a process has no image.
    """
    if not counts.all():
        who = f"each of {world.size} processes" if world.size > 1 else "training"
        raise DataError(
            f"{who} needs an image in every step, got none that can be read{' in one of them' * (world.size > 1)}: "
            "take the unreadable ones out, or pass a greater --batch-size"
        )
    return float(counts[world.rank] * world.size / counts.sum()) if world.size > 1 else 1.0


def process_seed(recipe: TrainingRecipe, world: World) -> int:
    """What this process's generators are seeded with: the recipe's seed in the first one, and another one in each other."""
    return recipe.seed if world.is_main else int(np.random.SeedSequence([recipe.seed, world.rank]).generate_state(1)[0])
