"""Reproduce the bundled Fashion-MNIST weights.

    python examples/train_bundled_weights.py --data-root DATA --out WEIGHTS [--download] [NAME ...]

The program trains on the training split only. It writes float16 weights as safetensors, loads them again, and writes a model
card with the accuracy of the *rounded* weights on the test split. It keeps the last epoch, so no choice uses the test split.

`rfgsm train` takes these recipes too, but does not give exactly these weights: it draws the order of the images, crops and
dropout differently from the seed, and keeps float32. Its networks of 300, 600 and 900 units are right on 8,848, 8,858 and 8,907
of 10,000 test images (examples/dnn_width_study.py), the bundled networks on 8,850, 8,859 and 8,899:

    rfgsm train --model mlp300 --split train --data-root DATA --epochs 15 --schedule constant --learning-rate 0.001 \
        --held-out 0 --out DIR
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from scipy.stats import binomtest
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import FashionMNIST
from torchvision.transforms import v2

from robustbench_fgsm.models.architectures import ARCHITECTURES


@dataclass(frozen=True)
class Recipe:
    epochs: int
    optimizer: str
    peak_rate: float
    weight_decay: float
    augment: bool
    mean: float
    std: float
    channels: int
    batch_size: int = 128
    seed: int = 0
    schedule: str = "one cycle"


CONV = Recipe(15, "sgd", 0.1, 5e-4, augment=True, mean=0.2860, std=0.3530, channels=1)
RESNET = Recipe(15, "sgd", 0.1, 5e-4, augment=True, mean=0.2860, std=0.3530, channels=3)
MLP = Recipe(15, "adam", 1e-3, 0.0, augment=False, mean=0.0, std=1.0, channels=1, schedule="constant")
RECIPES = {"mlp300": MLP, "mlp600": MLP, "mlp900": MLP, "resnet18": RESNET, "smallcnn": CONV}


def transforms(recipe: Recipe, *, augment: bool) -> v2.Compose:
    """Return the transform of a PIL image to a normalised tensor, with random crops and flips for training."""
    random = [v2.RandomCrop(28, padding=2), v2.RandomHorizontalFlip()] if augment else []
    return v2.Compose(
        [
            v2.PILToTensor(),
            *random,
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([recipe.mean], [recipe.std]),
            v2.Lambda(lambda image: image.expand(recipe.channels, -1, -1)),
        ]
    )


def optimisation(
    network: nn.Module, recipe: Recipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return the optimiser of the recipe, and the schedule, which steps once per batch."""
    parameters = network.parameters()
    if recipe.optimizer == "adam":
        adam = torch.optim.Adam(parameters, recipe.peak_rate)
        return adam, torch.optim.lr_scheduler.ConstantLR(adam, factor=1.0)
    sgd = torch.optim.SGD(parameters, recipe.peak_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay)
    return sgd, torch.optim.lr_scheduler.OneCycleLR(sgd, recipe.peak_rate, total_steps=steps)


def train(name: str, recipe: Recipe, data_root: Path, *, download: bool) -> nn.Module:
    """Train one network from its seed, and print the mean loss of each epoch."""
    torch.manual_seed(recipe.seed)
    network = ARCHITECTURES[name]().to(memory_format=torch.channels_last)
    images = FashionMNIST(data_root, train=True, download=download, transform=transforms(recipe, augment=recipe.augment))
    loader = DataLoader(images, recipe.batch_size, shuffle=True, drop_last=True)
    optimizer, schedule = optimisation(network, recipe, recipe.epochs * len(loader))
    for epoch in range(recipe.epochs):
        began, losses = time.perf_counter(), []
        network.train()
        for x, y in loader:
            loss = nn.functional.cross_entropy(network(x.contiguous(memory_format=torch.channels_last)), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        print(
            f"{name} epoch {epoch + 1}/{recipe.epochs} loss {torch.stack(losses).mean():.4f} {time.perf_counter() - began:.0f} s",
            flush=True,
        )
    return network


@torch.no_grad()
def count_correct(network: nn.Module, images: FashionMNIST) -> int:
    """Return the number of right predictions in evaluation mode."""
    network.eval()
    return sum(int((network(x).argmax(1) == y).sum()) for x, y in DataLoader(images, 500))


def float16_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the state dict with all floating tensors rounded to float16, in the plain memory layout."""
    state = network.state_dict()
    return {key: (value.half() if value.is_floating_point() else value).contiguous() for key, value in state.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"networks to train, of {', '.join(RECIPES)}; all by default")
    parser.add_argument("--data-root", type=Path, required=True, help="where torchvision finds or puts Fashion-MNIST")
    parser.add_argument("--download", action="store_true", help="let torchvision download it")
    parser.add_argument("--out", type=Path, required=True, help="directory for the weights and the model cards")
    args = parser.parse_args()
    unknown = set(args.names) - set(RECIPES)
    if unknown:
        parser.error(f"expected names of {', '.join(RECIPES)}, got {', '.join(sorted(unknown))}")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or RECIPES:
        recipe = RECIPES[name]
        network = train(name, recipe, args.data_root, download=args.download)
        file = args.out / f"{name}-fashion-mnist-standard.safetensors"
        save_file(float16_state(network), file)
        network = ARCHITECTURES[name]()
        network.load_state_dict(
            {key: value.float() if value.is_floating_point() else value for key, value in load_file(file).items()}
        )
        test = FashionMNIST(args.data_root, train=False, download=args.download, transform=transforms(recipe, augment=False))
        correct, n = count_correct(network, test), len(test)
        interval = binomtest(correct, n).proportion_ci(method="wilson")
        card = {
            "name": name,
            "weights": "standard",
            "file": file.name,
            "classes": test.classes,
            "data": "Fashion-MNIST, training split (60,000 images)",
            "recipe": asdict(recipe),
            "script": "examples/train_bundled_weights.py",
            "torch": torch.__version__.split("+")[0],
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "clean_accuracy": {"value": correct / n, "count": correct, "n": n, "low": interval.low, "high": interval.high},
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        file.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
        interval_text = f"[{interval.low:.4f}, {interval.high:.4f}]"
        print(f"{name}: {correct / n:.4f} {interval_text} on {n} test images, {file.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
