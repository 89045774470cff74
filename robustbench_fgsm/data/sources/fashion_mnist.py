"""Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747), whose test split ships with the package: 10,000 images."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.registry import DataOptions, Source
from robustbench_fgsm.data.sources.torchvision import ARRAYS, load_array

FILE = Path(__file__).parents[1] / "files" / "fashion-mnist-test.safetensors"
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def load_fashion_mnist() -> ArrayDataset:
    """All 10,000 test images in their original order: one grey channel of 28 x 28."""
    arrays = load_file(FILE)
    return ArrayDataset("fashion-mnist", arrays["images"], arrays["labels"], CLASSES)


def _load(_: str, options: DataOptions) -> Dataset:
    if options.one_of("fashion-mnist", ("test", "train")) == "test":
        return load_fashion_mnist()
    return load_array(ARRAYS["fashion-mnist"], options)


SOURCES = (Source("fashion-mnist", "clothes, grey 28 x 28; the test split ships with the package", _load),)
