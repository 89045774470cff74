"""Data of a Python program as a data set: arrays, a DataLoader, a torch Dataset, an iterator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data.dataloader import default_collate, default_convert

from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.decoding import UnreadableError, image_to_pixels
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.memory import check_memory
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.arrays import arrays_to_dataset, find_array_keys
from robustbench_fgsm.data.subset import Subset
from robustbench_fgsm.data.torch_dataset import class_names_of, split_sample, torch_dataset_to_images
from robustbench_fgsm.errors import DataError, warn_user
from robustbench_fgsm.global_settings import preserve_generators
from robustbench_fgsm.user_code import user_code

MEMORY_STEP = 1 << 26
"""Bytes that an iterator yields between two looks at the free memory."""

ACCEPTED_OBJECTS = "a Dataset, a DataLoader, a torch Dataset, (x, y) or an iterator of (image, label)"


def object_to_dataset(data: Any, options: DataOptions, *, name: str = "", limit: int | None = None) -> Dataset:
    """Return a data set of images and labels that a Python program holds.

    Ids are indices of the given data set, also if a DataLoader shuffles: images are read in the order of the data set.

    Args:
        data: a Dataset; a DataLoader; a torch data set; a pair (x, y) of tensors or arrays; a mapping of such; an iterator.
        options: layout and workers.
        name: name in reports; empty for the name of the object's class.
        limit: number of images that are needed, for data that are read as a whole.

    Raises:
        DataError: the object is of another kind, or its samples are not images and labels.
        ResourceError: an iterator has more images than memory can hold.
    """
    if isinstance(data, Dataset):
        return data
    options.reject_split(name or type(data).__name__)
    if isinstance(data, DataLoader):
        return _loader_to_dataset(data, options, name or f"DataLoader of {type(data.dataset).__name__}", limit)
    if not name and options.workers is None:  # of objects that may hold open files, which no other process can use
        options = replace(options, workers=0)
    name = name or type(data).__name__
    if isinstance(data, TensorDataset) and len(data.tensors) == 2:
        return _pair_to_dataset(data.tensors, options, name)
    if isinstance(data, (tuple, list)) and _is_pair(data):
        return _pair_to_dataset(data, options, "arrays")
    if isinstance(data, Mapping) and any(hasattr(part, "features") for part in data.values()):
        raise DataError(
            f"{name} has several splits, got {', '.join(map(str, data))}: pass one of them, such as data[{next(iter(data))!r}]"
        )
    if hasattr(data, "iloc"):
        raise DataError(f"{name} must be split into features and labels, got one table: pass (frame[features], frame[label])")
    if isinstance(data, Mapping):
        images, labels = find_array_keys({str(key): tuple(np.shape(data[key])) for key in data}, options, name)
        return _pair_to_dataset((data[images], data[labels]), options, "arrays")
    if isinstance(data, IterableDataset):
        return _stream_to_dataset(data, options, name, class_names_of(data, options.task), limit)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, (str, bytes, Tensor, np.ndarray)):
        return _table_to_dataset(data, options, name)
    if hasattr(data, "__next__"):
        return _stream_to_dataset(data, options, name, (), limit)
    raise DataError(f"data must be {ACCEPTED_OBJECTS}, got {type(data).__name__}: pass images and labels in one of these forms")


def _is_pair(data: Sequence[Any]) -> bool:
    """Return True if a sequence is images and labels, not two samples (image, label)."""
    return len(data) == 2 and all(hasattr(part, "__len__") and not isinstance(part, (tuple, Mapping)) for part in data)


def _pair_to_dataset(pair: Sequence[Any], options: DataOptions, name: str, classes: Sequence[str] | None = None) -> ArrayDataset:
    ambiguous = "NCHW" if isinstance(pair[0], Tensor) else None
    return arrays_to_dataset(name, pair[0], pair[1], options, classes, ambiguous=ambiguous)


def _table_to_dataset(data: Any, options: DataOptions, name: str, collate: Any = None) -> ImageDataset:
    """Return a torch data set with random access; a table of Hugging Face's `datasets` has its own names of classes."""
    found = torch_dataset_to_images(
        data,
        name,
        workers=options.workers,
        layout=options.layout,
        collate=collate,
        keys=(options.images_key, options.labels_key),
        task=options.task,
    )
    features = getattr(data, "features", None)
    names = getattr(features["label"], "names", ()) if isinstance(features, Mapping) and "label" in features else ()
    return found if found.classes or not names else found.with_class_names(tuple(names))


def _loader_to_dataset(loader: DataLoader[Any], options: DataOptions, name: str, limit: int | None) -> Dataset:
    """Return the images that one pass over the loader would yield, in the order of its data set."""
    classes = class_names_of(loader.dataset, options.task)
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return _stream_to_dataset(loader, options, name, classes, limit)
    indices = _drawn_indices(loader, name)
    plain = loader.collate_fn in (default_collate, default_convert)
    found: Dataset
    if plain and isinstance(loader.dataset, TensorDataset) and len(loader.dataset.tensors) == 2:
        found = _pair_to_dataset(loader.dataset.tensors, options, name, classes or None)
    else:
        options = replace(options, workers=loader.num_workers if options.workers is None else options.workers)
        found = _table_to_dataset(loader.dataset, options, name, None if plain else loader.collate_fn)
    missing = len(found) - len(indices)
    if loader.drop_last and 0 < missing < (loader.batch_size or 1):
        warn_user(f"{name} leaves out {missing:,} of {len(found):,} images: pass drop_last=False to use all")
    return found if indices == list(range(len(found))) else Subset(found, indices)


def _drawn_indices(loader: DataLoader[Any], name: str) -> list[int]:
    """Return the sorted indices of one pass over the loader; the random state afterwards is as before."""
    generators = [found for found in (loader.generator, getattr(loader.sampler, "generator", None)) if found is not None]
    states = [generator.get_state() for generator in generators]
    with preserve_generators(), user_code(f"the sampler of {name} must give indices", DataError):
        drawn = sorted(int(index) for batch in loader.batch_sampler or () for index in batch)
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    doubled = next((one for one, other in pairwise(drawn) if one == other), None)
    if doubled is not None:
        raise DataError(
            f"{name} must yield each image once, but its sampler ({type(loader.sampler).__name__}) drew image {doubled} twice: "
            "pass loader.dataset"
        )
    return drawn


def _stream_to_dataset(
    stream: Iterable[Any], options: DataOptions, name: str, classes: tuple[str, ...], limit: int | None
) -> ArrayDataset:
    """Return the images of a pass over an iterator of samples or batches, held in memory; ids count them."""
    images: list[Tensor] = []
    labels: list[Any] = []
    used, allowed = 0, MEMORY_STEP
    for sample in _preserving_iterator(stream, limit, name):
        image, label = split_sample(sample, f"each item of {name}", keys=(options.images_key, options.labels_key))
        part, part_labels = _to_batch(image, label, name, options)
        if images and part.shape[1:] != images[0].shape[1:]:
            raise DataError(
                f"{name} must yield images of one shape, got {tuple(images[0].shape[1:])} and {tuple(part.shape[1:])}: resize them"
            )
        images.append(part)
        labels += part_labels
        used += part.nbytes
        if used > allowed:
            allowed = used + MEMORY_STEP
            check_memory(used, name, "pass a data set with __getitem__ and __len__, or load_data(data, limit=N)")
        if limit is not None and len(labels) >= limit:
            break
    if not images:
        raise DataError(f"data must hold at least one image, got none in {name}: an iterator yields its images only once")
    joined, stop = torch.cat(images), limit if limit is not None else len(labels)
    return _pair_to_dataset((joined[:stop], np.array(labels[:stop])), options, name, classes or None)


def _preserving_iterator(stream: Iterable[Any], limit: int | None, name: str) -> Iterator[Any]:
    """Yield items of a pass, whose beginning leaves the global generators as they are: a DataLoader draws a seed from them."""
    end = object()
    item: Any = None
    with preserve_generators(), user_code(f"{name} must yield (image, label)", DataError):
        items = islice(iter(stream), limit)
    while item is not end:
        with user_code(f"{name} must yield (image, label)", DataError):
            item = next(items, end)
        if item is not end:
            yield item


def _to_batch(image: Any, label: Any, name: str, options: DataOptions) -> tuple[Tensor, list[Any]]:
    """Return one item of an iterator as a batch of images and a list of labels; the item is a batch if it has several labels.

    A row of multi-hot labels belongs to one image. A one-hot row of floats beside three axes is the label of one image (C, H, W),
    also if there are as many classes as channels.
    """
    labels = np.asarray(label.detach().cpu() if isinstance(label, Tensor) else label)
    is_one_hot = labels.dtype.kind == "f" and labels.ndim == 1 and sorted(labels.tolist()) == [0.0] * (len(labels) - 1) + [1.0]
    is_batch = isinstance(image, (Tensor, np.ndarray)) and labels.ndim >= 1 and len(labels) == len(image) and image.ndim >= 2
    if options.task == "multilabel":
        is_batch, is_one_hot = is_batch and labels.ndim > 1, False
    if is_batch and not (is_one_hot and image.ndim == 3):
        return torch.as_tensor(image).detach().cpu(), list(labels)
    try:
        return torch.from_numpy(image_to_pixels(image, None, options.layout)).unsqueeze(0), [label]
    except UnreadableError as error:
        raise DataError(f"each item of {name} must be (image, label), got one that is not: {error}") from error
