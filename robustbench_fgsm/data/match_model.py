"""Data in the terms of the classifier that is to see them: its sizes and its class names."""

from __future__ import annotations

from robustbench_fgsm.data.class_names import complete_names
from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.subset import Subset
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.models.preprocessing import Preprocessing


def fit_to(data: Dataset, classifier: Classifier) -> Dataset:
    """The data with the classifier's resizing, where they have none of their own, and its names for unnamed classes.

    Doing it twice is doing it once. Data sets of others are left alone.
    """
    return _fitted(data, classifier.info.preprocessing, classifier.num_classes, classifier.classes)


def _fitted(
    data: Dataset, preprocessing: Preprocessing | None, num_classes: int, classes: tuple[str, ...] | None
) -> Dataset:
    if isinstance(data, Subset):
        whole = _fitted(data.whole, preprocessing, num_classes, classes)
        return data if whole is data.whole else data.over(whole)
    if isinstance(data, ImageDataset) and data.preprocessing is None and preprocessing is not None:
        data = data.prepared(preprocessing)
    names = complete_names(data.classes, num_classes, classes)
    return data.named(names) if names != data.classes and isinstance(data, (ArrayDataset, ImageDataset)) else data
