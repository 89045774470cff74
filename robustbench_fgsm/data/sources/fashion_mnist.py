"""Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747), whose test split ships with the package: 10,000 images."""

from __future__ import annotations

from pathlib import Path

from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.registry import DATA_SOURCES, DataOptions
from robustbench_fgsm.files.array_files import read_safetensors

TEST_SPLIT_FILE = Path(__file__).parents[1] / "files" / "fashion-mnist-test.safetensors"
CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def load_fashion_mnist() -> ArrayDataset:
    """Return all 10,000 test images in their original order: one grey channel of 28 x 28."""
    arrays = read_safetensors(TEST_SPLIT_FILE, follow_links=True)
    return ArrayDataset("fashion-mnist", arrays["images"], arrays["labels"], CLASS_NAMES)


def load(name: str, options: DataOptions) -> Dataset:
    """Return the test split that ships with the package, or the training split from the root."""
    if options.choose_split(name, DATA_SOURCES.built_in[name].splits) == "test":
        return load_fashion_mnist()
    from robustbench_fgsm.data.sources.torchvision import load_array_dataset  # torchvision takes a second

    return load_array_dataset(name, options)
