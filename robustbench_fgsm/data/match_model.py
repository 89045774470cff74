"""Adaptation of data to a classifier: its image size, its bounds and its class names."""

from __future__ import annotations

from robustbench_fgsm.data.class_names import complete_class_names
from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.subset import Subset
from robustbench_fgsm.models.classifier import Classifier


def match_to_classifier(data: Dataset, classifier: Classifier) -> Dataset:
    """Return the data with the classifier's resizing, unless they have their own, and its names for unnamed classes.

    8-bit images are put into the classifier's bounds, because their own range is known: level 0 becomes the low and level 255 the
    high one. Floating-point images stay as they are. A second call changes nothing. Data sets of other packages stay unchanged.
    """
    if isinstance(data, Subset):
        matched = match_to_classifier(data.dataset, classifier)
        return data if matched is data.dataset else data.with_dataset(matched)
    preprocessing, classes = classifier.info.preprocessing, classifier.classes
    if isinstance(data, ImageDataset) and data.preprocessing is None and preprocessing is not None:
        data = data.with_preprocessing(preprocessing)
    if isinstance(data, (ArrayDataset, ImageDataset)) and data.bounds != classifier.bounds:
        data = data.with_bounds(classifier.bounds)
    names = complete_class_names(data.classes, classifier.num_classes, classes)
    return data.with_class_names(names) if names != data.classes and isinstance(data, (ArrayDataset, ImageDataset)) else data
