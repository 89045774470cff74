"""Write the test split of Fashion-MNIST as the bundled safetensors file.

    python examples/bundle_fashion_mnist.py --data-root DATA --out FILE [--download]

Pixels and order equal the original files, whose hashes torchvision checks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torchvision.datasets import FashionMNIST


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="directory of torchvision's Fashion-MNIST")
    parser.add_argument("--download", action="store_true", help="let torchvision download it")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    args = parser.parse_args()
    split = FashionMNIST(args.data_root, train=False, download=args.download)
    arrays = {"images": split.data.contiguous(), "labels": split.targets.to(torch.uint8)}
    save_file(arrays, args.out, metadata={"source": "https://github.com/zalandoresearch/fashion-mnist", "licence": "MIT"})


if __name__ == "__main__":
    main()
