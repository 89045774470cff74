"""Benchmark the networks that users have beside all installed libraries, as one Markdown table: medians, ranges and memory.

The bundled networks attack Fashion-MNIST. torchvision's networks have random weights, because time does not depend on weights, and
attack random images of 224 x 224 pixels. Their labels are their own predictions, so that an attack can change them.

python examples/benchmark_table.py
python examples/benchmark_table.py resnet50 --limit 16 --rounds 3 --threads 1
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import torch
import torchvision
from torch import nn

import robustbench_fgsm as rf

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BUNDLED = {"resnet18": 2000, "smallcnn": 2000, "mlp300": 10000}
"""Networks for Fashion-MNIST, and numbers of images whose job takes seconds."""

LARGE = ("resnet50", "mobilenet_v3_small", "vit_b_16", "convnext_tiny")
LARGE_LIMIT = 16


def model_and_data(name: str, limit: int | None) -> tuple[rf.Classifier, rf.Dataset]:
    if name in BUNDLED:
        return rf.load_classifier(name), rf.load_data("fashion-mnist", limit=limit or BUNDLED[name])
    torch.manual_seed(0)
    images = torch.rand(limit or LARGE_LIMIT, 3, 224, 224)
    network, centred = torchvision.models.get_model(name).eval(), nn.BatchNorm1d(1000, affine=False).eval()
    for weight in network.parameters():  # a vision transformer's last layer begins with zeros, which have no gradient
        if weight.ndim > 1 and not weight.any():
            nn.init.normal_(weight, std=0.02)
    with torch.no_grad():  # otherwise random weights give all images one class
        centred.running_mean = network(images[:4]).mean(0)
    classifier = rf.wrap(nn.Sequential(network, centred), 1000, mean=MEAN, std=STD)
    return classifier, rf.ArrayDataset("random", images, classifier.predict(images).argmax(1), tuple(map(str, range(1000))))


def rows(name: str, settings: argparse.Namespace) -> Iterator[str]:
    classifier, data = model_and_data(name, settings.limit)
    found = rf.benchmark(
        classifier, data, settings.eps, rounds=settings.rounds, threads=settings.threads, batch_size=settings.batch_size
    ).to_dict()
    for contender in found["contenders"]:
        jobs = [timing for timing in contender["timings"] if timing["task"] == "job"]
        memory = "" if contender["memory"] is None else f"{contender['memory']['above'] / 2**20:.0f}"
        yield f"| {name} | {contender['name']} {contender['version']} | {' | '.join(map(cells, jobs))} | {memory} |"


def cells(timing: dict[str, Any]) -> str:
    """Return seconds, times the unit with their range, and the share of the machine's limit."""
    if timing["ratio"] is None:
        return "failed | | "
    ratio = "{median:.2f} ({low:.2f}-{high:.2f})".format(**timing["ratio"])
    share = "" if timing["limit_share"] is None else f"{timing['limit_share']:.0%}"
    return f"{timing['seconds']['median']:.2f} | {ratio} | {share}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=[*BUNDLED, *LARGE])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch-size", default="auto")
    parser.add_argument("--eps", default="1,2,3,4,5,6,7,8/255")
    settings = parser.parse_args()
    print("| network | implementation | s, one ε | times the unit | limit | s, all ε | times the unit | limit | MiB |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for name in settings.networks:
        for row in rows(name, settings):
            print(row, flush=True)


if __name__ == "__main__":
    main()
