"""Adaptation of data to a classifier: its image size and its class names."""

from __future__ import annotations

from robustbench_fgsm.data.class_names import complete_class_names
from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.subset import Subset
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.models.preprocessing import Preprocessing


def match_to_classifier(data: Dataset, classifier: Classifier) -> Dataset:
    """Return the data with the classifier's resizing, unless they have their own, and its names for unnamed classes.

    A second call changes nothing. Data sets of other packages stay unchanged.
    """
    return _match(data, classifier.info.preprocessing, classifier.num_classes, classifier.classes)


def _match(data: Dataset, preprocessing: Preprocessing | None, num_classes: int, classes: tuple[str, ...] | None) -> Dataset:
    if isinstance(data, Subset):
        matched = _match(data.dataset, preprocessing, num_classes, classes)
        return data if matched is data.dataset else data.with_dataset(matched)
    if isinstance(data, ImageDataset) and data.preprocessing is None and preprocessing is not None:
        data = data.with_preprocessing(preprocessing)
    names = complete_class_names(data.classes, num_classes, classes)
    return data.with_class_names(names) if names != data.classes and isinstance(data, (ArrayDataset, ImageDataset)) else data
