"""The classifiers and the data set of a command."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from robustbench_fgsm.cli.feature_files import FeatureColumn, check_feature_order, is_feature_file, read_bounds_file
from robustbench_fgsm.cli.options import DataOptions, ModelOptions
from robustbench_fgsm.cli.output import write_note
from robustbench_fgsm.engine.torchrun import is_under_torchrun
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.spec import Task, check_task_name

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import Dataset
    from robustbench_fgsm.models.classifier import Classifier, ModelInfo


def load_model_and_data(
    model_options: ModelOptions, data_options: DataOptions, *, seed: int = 0, epsilon_scale: object = None, quiet: bool
) -> tuple[Classifier, Dataset]:
    """Load the classifier and the images; print on standard error which weights and how many images they are.

    epsilon_scale: scale of the attack, whose file must have the features in the order of the data.
    """
    from robustbench_fgsm.cli.find_normalisation import find_normalisation
    from robustbench_fgsm.data.limit import describe_sample
    from robustbench_fgsm.data.match_model import match_to_classifier
    from robustbench_fgsm.models.load import load_classifier
    from robustbench_fgsm.models.request import NormalisationError

    model = model_options.model
    task = check_task_name(model_options.task)
    name = resolve_data_name([model], data_options.data)
    check_feature_files(name, data_options, model_options, epsilon_scale)
    images = load_dataset(name, data_options, seed, task, quiet=quiet)
    try:
        classifier = load_classifier(model, data=images.name, **model_options.load_arguments())
    except NormalisationError:
        if task != "multiclass" or model_options.mean is not None or model_options.std is not None:
            raise
        classifier, words = find_normalisation(model_options, images)
        write_note(words, quiet=False)  # also with --quiet: the numbers depend on it
    write_note(f"{model_text(model, classifier.info)}, {describe_sample(images)}, {classifier.device}", quiet=quiet)
    return classifier, match_to_classifier(images, classifier)


def model_text(model: str, info: ModelInfo) -> str:
    """Return which weights they are and how they were found, and the precision and the normalisation inside the classifier."""
    numbers = [", ".join(f"{value:g}" for value in statistic or ()) for statistic in (info.mean, info.std)]
    inside = f", mean {numbers[0]}, std {numbers[1]}" if info.mean is not None else ""
    precision = f", {info.dtype}" if info.dtype != "float32" else ""
    found = f" ({info.checkpoint})" if info.checkpoint else ""
    return f"{model}: {info.weights} weights{found}{precision}{inside}"


def resolve_data_name(models: Iterable[str], data: str | None) -> str:
    """Return the data set's name, by default that of the bundled models. Raises SettingError if a model needs another one."""
    from robustbench_fgsm.models.cards import BUNDLED_DATA
    from robustbench_fgsm.models.names import BUNDLED_NAMES, check_model, split_model_and_weights

    for model in models if data is None else ():
        name, _ = split_model_and_weights(model)
        if name not in BUNDLED_NAMES:
            check_model(name)
            raise SettingError(f"--data must be named for {model}, got none: see rfgsm list data")
    return data or BUNDLED_DATA


def choose_split(name: str, data_options: DataOptions, *, training: bool = False, quiet: bool) -> DataOptions:
    """Return the options with the split to evaluate on, if a folder holds splits and none is named; a note says so.

    training: take the split to train on, if there is one.
    """
    from robustbench_fgsm.data.registry import find_data_source
    from robustbench_fgsm.data.sources.folder import splits_of

    entry, place = find_data_source(name)
    splits = splits_of(Path(place)) if entry.name == "folder" and data_options.split is None else []
    if not splits:
        return data_options
    split = next((name for name in splits if training and name.lower().startswith("train")), splits[0])
    write_note(f"{place} holds {' and '.join(sorted(splits))}: took --split {split}", quiet=quiet)
    return replace(data_options, split=split)


def check_feature_files(name: str, data_options: DataOptions, model_options: ModelOptions, epsilon_scale: object) -> None:
    """Raise SettingError if the files of bounds or scale name the features of a table in another order than the table."""
    bounds = model_options.bounds
    found = [epsilon_scale, *(read_bounds_file(bounds) if bounds is not None and is_feature_file(bounds) else ())]
    columns = [column for column in found if isinstance(column, FeatureColumn) and column.features]
    if not columns:
        return
    from robustbench_fgsm.data import registry
    from robustbench_fgsm.data.sources.csv_table import read_feature_names

    entry, place = registry.find_data_source(name)
    if entry.name != "csv":
        return
    options = registry.DataOptions(labels_key=data_options.labels_key, task=check_task_name(model_options.task))
    names = read_feature_names(Path(place), options)
    for column in columns:
        check_feature_order(column, names)


def load_dataset(name: str, data_options: DataOptions, seed: int, task: Task = "multiclass", *, quiet: bool) -> Dataset:
    """Load the data set; of several processes one on each machine downloads it while the others wait."""
    data_options = choose_split(name, data_options, quiet=quiet)
    from robustbench_fgsm.data.load import load_data
    from robustbench_fgsm.engine.distributed import join_world

    settings = asdict(data_options)
    root, download = settings.pop("data_root"), settings.pop("download")
    del settings["data"]
    load = partial(load_data, name, root=root, seed=seed, task=task, **settings)
    if not (is_under_torchrun() and download):
        return load(download=download)
    world = join_world()
    world.run_in_rank_order(lambda: load(download=True), wanted=world.local_rank == 0)
    return load(download=False)
