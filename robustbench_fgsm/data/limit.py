"""Choice of images under a limit: a prefix only if it is a sample of the data, which data in class order have none of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.sample_request import SampleRequest
from robustbench_fgsm.data.subset import Subset, apportion, dataset_labels, first_images, sample_images
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.spec import is_multi_label

PROBED_IMAGES = 32
"""Images, spread evenly, whose labels show the order of data whose labels are unknown."""

MAX_MOVED_SHARE = 0.05
"""Share of a sample that images of rare classes may take beyond their proportion without a warning."""

MIN_PROBED = 8
"""Labels that are needed to say that they are in order."""

MIN_DEVIATION = 4
"""Standard deviations below the mean of a random order that the number of changes of the label lies in class order."""


def choose_images(data: Dataset, request: SampleRequest, seed: int) -> tuple[Dataset, str]:
    """Return the images that a request asks for, in the order of the data, and the rule that chose them, which is never `auto`.

    The rule `auto` is `first` if the first images are a sample: the data are not in class order, and no class is missing that the
    data have. Otherwise it is `stratified`; or `random` for multi-hot labels, if there are fewer images than classes, or if the
    labels are unknown. An unknown label costs decoding, so only 32 images are looked at. A sample with a `missing_classes` entry
    is recorded as `data.sample` of a document.
    """
    limit = request.limit
    if limit is None:
        return data, "first"
    labels = known_labels(data)
    if is_multi_label(data) and request.rule == "stratified":
        raise SettingError("a stratified sample needs one class an image, got task multilabel: pass --sample random")
    rule = "first" if limit >= len(data) else _choose_rule(data, labels, limit) if request.rule == "auto" else request.rule
    if rule == "first":
        found = first_images(data, limit)
    else:
        found = sample_images(
            data, limit, seed=seed, stratified=rule == "stratified", every_class=not isinstance(request.text, int)
        )
    record = {"rule": rule, "size": len(found), "of": len(data), "seed": None if rule == "first" else seed}
    missing = _missing_classes(data, found, labels)
    if isinstance(found, (ArrayDataset, ImageDataset, Subset)) and len(found) < len(data) and (rule != "first" or missing):
        found.sample = record | {"missing_classes": missing}
    return found, rule


def known_labels(data: Dataset) -> Tensor | None:
    """Return the label of each image, int64 (N,), if no image must be decoded for it; None otherwise, and for several labels."""
    if isinstance(data, Subset):
        whole = known_labels(data.dataset)
        return None if whole is None else whole[torch.as_tensor(data.indices, dtype=torch.int64)]
    if is_multi_label(data) or (isinstance(data, ImageDataset) and not data.knows_labels):
        return None
    labels = getattr(data, "labels", None)
    return labels if isinstance(labels, Tensor) else None


def in_class_order(labels: Tensor) -> bool:
    """Return True if equal labels (N,) stand together far more often than in a random order."""
    counts = torch.unique(labels, return_counts=True)[1].double()
    change = 1 - float((counts / len(labels)).square().sum())
    steps = len(labels) - 1
    changes = int((labels[1:] != labels[:-1]).sum())
    deviation = math.sqrt(max(steps * change * (1 - change), 0.0))
    return changes < min(0.5 * steps * change, steps * change - MIN_DEVIATION * deviation)


def describe_sample(data: Dataset) -> str:
    """Return the number of images and their data set, with the choice of the images if it is no prefix."""
    sample: dict[str, Any] | None = getattr(data, "sample", None)
    if not sample or sample["rule"] == "first":
        return f"{len(data):,} images of {data.name}"
    how = "each class in proportion" if sample["rule"] == "stratified" else "at random"
    return f"{len(data):,} of {sample['of']:,} images of {data.name}, drawn {how} with seed {sample['seed']}"


def sample_warnings(data: Dataset) -> list[str]:
    """Return a warning if the images are no fair sample of the data.

    Images in class order miss classes, because a user chose the first images or passed no others; or rare classes, each with an
    image at least, take the place of many others.
    """
    sample: dict[str, Any] = getattr(data, "sample", None) or {}
    missing = sample.get("missing_classes")
    if missing and getattr(data, "settings", {}).get("sample") == "first":
        some = f"the first {sample['size']:,} of {sample['of']:,} images hold no image of {_list_names(missing)}"
        return [f"{some}: pass --sample stratified, or a larger --limit"]
    labels = known_labels(data)
    if sample.get("rule") == "stratified" and isinstance(data, Subset) and labels is not None:
        return _enlarged_class_warnings(dataset_labels(data.dataset), len(labels))
    if sample or labels is None or len(labels) < MIN_PROBED or not bool((labels[1:] >= labels[:-1]).all()):
        return []
    present = torch.unique(labels).tolist()
    if present != list(range(len(present))) or len(present) >= len(data.classes):
        return []
    absent = _list_names(data.classes[len(present) :])
    return [f"the images are in class order and hold none of {absent}: if they are the first of more images, sample all of these"]


def _enlarged_class_warnings(labels: Tensor, size: int) -> list[str]:
    """Return a warning if, among `size` images of all with these labels, an image of each class takes the place of many others."""
    counts = torch.unique(labels[labels >= 0], return_counts=True)[1].tolist()
    fair, drawn = apportion(counts, size), apportion(counts, size, every=True)
    moved = sum(max(one - other, 0) for one, other in zip(drawn, fair, strict=True))
    if moved <= MAX_MOVED_SHARE * size:
        return []
    return [
        f"{moved:,} of the {size:,} images are there so that each class has one, so that rare classes count for more than in the "
        "data: pass --sample random, or a larger --limit"
    ]


def _list_names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _choose_rule(data: Dataset, labels: Tensor | None, limit: int) -> str:
    if is_multi_label(data):
        return "random"
    if labels is None:
        probed = list(_probe_labels(data))
        ordered = len(probed) >= MIN_PROBED and len(set(probed)) > 1
        rises = all(one <= other for one, other in pairwise(probed)), all(one >= other for one, other in pairwise(probed))
        return "random" if ordered and any(rises) else "first"
    labels = labels[labels >= 0]
    classes = len(torch.unique(labels))
    misses_classes = len(torch.unique(labels[:limit])) < classes
    if limit < classes:
        return "random" if in_class_order(labels) else "first"
    return "stratified" if misses_classes or in_class_order(labels) else "first"


def _probe_labels(data: Dataset) -> Iterator[int]:
    for place in sorted({int(place) for place in np.linspace(0, len(data) - 1, min(PROBED_IMAGES, len(data)))}):
        for batch in data.batches(place, place + 1, 1):
            yield from batch.labels.tolist()


def _missing_classes(data: Dataset, found: Dataset, labels: Tensor | None) -> list[str] | None:
    """Return the names of classes of which the data have images and the chosen images none; None if labels are unknown."""
    if labels is None:
        return None
    chosen = known_labels(found)
    missing = sorted({*labels[labels >= 0].tolist()} - {*(() if chosen is None else chosen.tolist())})
    return [data.classes[label] if label < len(data.classes) else str(label) for label in missing]
