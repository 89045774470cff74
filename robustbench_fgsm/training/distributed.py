"""Communication between the processes of one training: gradients, batch-norm statistics, unreadable samples."""

from __future__ import annotations

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
from robustbench_fgsm.models.copy_module import copy_module
from robustbench_fgsm.stats.tally import Int64Array
from robustbench_fgsm.training.adversarial_batch import autocast
from robustbench_fgsm.training.recipe import TrainingRecipe

MIN_IMAGES_PER_PROCESS = 2
"""Minimum images of a step in each process: batch norm needs two."""


class TrainingObjective(nn.Module):
    """Loss of a recipe on the images of one process. One forward call per backward pass, as DistributedDataParallel requires."""

    def __init__(self, network: nn.Module, recipe: TrainingRecipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe

    def forward(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return the mean loss over the images (N, ...); for `fgsm` the mixture of clean and crafted images."""
        with autocast(x.device, self.recipe.precision):
            loss = cross_entropy(self.network(x_adv), y)
            if self.recipe.method == "fgsm":
                loss = self.recipe.mix * cross_entropy(self.network(x), y) + (1 - self.recipe.mix) * loss
        return loss


def check_processes(world: World, recipe: TrainingRecipe, device: torch.device) -> None:
    """Raise SettingError if the recipe or the device does not allow this number of processes."""
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
    """Return the network with synchronised batch norm on several GPUs. PyTorch has no synchronised batch norm on CPUs."""
    if world.size == 1 or device.type != "cuda":
        return network
    converted: nn.Module = SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return converted


def wrap_distributed(objective: nn.Module, world: World, x: Tensor, y: Tensor) -> nn.Module:
    """Wrap the objective in DistributedDataParallel, with the weights of rank 0 and the mean gradient over all processes.

    PyTorch waits for gradients of unused parameters unless it searches for them in each step, which takes time. Images x
    (N, ...) and labels y (N,) tell whether there are any. `average_batch_norm_statistics` handles batch-norm statistics.
    """
    device, idle = x.device, any(world.gather(has_unused_parameters(objective, x, y)))
    devices = [device] if device.type == "cuda" else None
    known = signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # PyTorch renames it
    left_alone: dict[str, Any] = {name: False}
    return DistributedDataParallel(objective, device_ids=devices, find_unused_parameters=idle, **left_alone)


def has_unused_parameters(objective: nn.Module, x: Tensor, y: Tensor) -> bool:
    """Return True if the loss of these images does not depend on a parameter. Uses a copy and restores random generators."""
    tried = copy_module(objective).train()
    with torch.random.fork_rng([x.device] if x.device.type == "cuda" else []):
        loss = tried(x, x, y)
    parameters = [parameter for parameter in tried.parameters() if parameter.requires_grad]
    return any(found is None for found in torch.autograd.grad(loss, parameters, allow_unused=True))


def compute_loss(objective: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    """Return the loss of the objective.

    Raises:
        ModelError: if the last step of several processes did not use all parameters that other steps use.
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
    """Compute the gradients of the loss by the parameters. Raises IncompleteError if a process was lost."""
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
    """Return True if the error concerns other processes. The errors of gloo are plain RuntimeErrors."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower()


def average_batch_norm_statistics(network: nn.Module, world: World) -> None:
    """Replace batch-norm statistics by their mean over all processes, so that the networks stay equal."""
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
    """Return the number of images of each process in this step, shape (processes,).

    If a process found new unreadable samples beyond `known_bad`, `bad` gets those of all processes.
    """
    own = np.zeros((2, world.size), np.int64)
    own[:, world.rank] = num_images, len(bad) - known_bad
    totals: Int64Array = world.sum(own)
    if totals[1].any():
        bad.update(*world.gather(frozenset(bad)))
    counts: Int64Array = totals[0]
    return counts


def process_loss_weight(counts: Int64Array, world: World) -> float:
    """Return the weight of this process's mean loss that makes the mean over processes the mean over all images.

    Raises:
        DataError: if a process has no image.
    """
    if not counts.all():
        who = f"each of {world.size} processes" if world.size > 1 else "training"
        raise DataError(
            f"{who} needs an image in every step, got none that can be read{' in one of them' * (world.size > 1)}: "
            "take the unreadable ones out, or pass a greater --batch-size"
        )
    return float(counts[world.rank] * world.size / counts.sum()) if world.size > 1 else 1.0


def process_seed(recipe: TrainingRecipe, world: World) -> int:
    """Return the seed of this process's generators: the recipe's seed in rank 0, a derived seed in other ranks."""
    return recipe.seed if world.is_main else int(np.random.SeedSequence([recipe.seed, world.rank]).generate_state(1)[0])
