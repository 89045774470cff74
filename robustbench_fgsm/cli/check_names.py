"""Check names, files and settings of a command before torch is imported, so that a mistyped word is answered at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robustbench_fgsm.cli.load import resolve_data_name
from robustbench_fgsm.cli.options import DataOptions, ModelOptions, OutputOptions
from robustbench_fgsm.data.registry import NUMBERED_CLASS_MAP, check_data_path
from robustbench_fgsm.data.sample_request import SampleRequest
from robustbench_fgsm.errors import DataError, ModelError, SettingError
from robustbench_fgsm.files.regular_files import is_directory, require_file
from robustbench_fgsm.models.cards import BUNDLED_DATA, is_weights_file, model_card
from robustbench_fgsm.models.names import BUNDLED_NAMES, check_model, check_torchvision_name, split_model_and_weights
from robustbench_fgsm.models.registry import find_model_source
from robustbench_fgsm.options import BenchmarkOptions, OpponentOptions, ReloadOptions
from robustbench_fgsm.references.registry import REFERENCES, check_opponents
from robustbench_fgsm.registry import refuse_address
from robustbench_fgsm.user_code import CANDIDATE_FORMAT, check_code_place


def check_names(command: str, arguments: Mapping[str, Any]) -> bool:
    """Raise an error for names and files that do not exist; return True if the command will load a network.

    Args:
        command: name of the command.
        arguments: its groups of options, and its own options by their names.
    """
    groups = {type(value): value for value in arguments.values()}
    if groups.keys() & {OpponentOptions, BenchmarkOptions}:
        _check_opponents(groups.get(OpponentOptions) or groups[BenchmarkOptions])
    model_options, data_options = groups.get(ModelOptions), groups.get(DataOptions)
    if model_options is not None:
        model_options.load_arguments()
        models = [model_options.model] if model_options.model else [*arguments.get("source", ()), *arguments.get("target", ())]
        if data_options is not None and models:
            _check_models_and_data(models, model_options.weights, data_options)
    output = groups.get(OutputOptions)
    if output is not None and output.out is not None:
        from robustbench_fgsm.runs.directory import check_run_command

        check_run_command(output.out, command)
    return model_options is not None or ReloadOptions in groups


def _check_opponents(opponents: OpponentOptions | BenchmarkOptions) -> None:
    for name in opponents.references or ():
        REFERENCES.find(name)
    if isinstance(opponents, BenchmarkOptions):
        return
    candidate = opponents.candidate
    check_opponents(opponents.references, candidate, opponents.ignore)
    if candidate is None or is_directory(Path(candidate)):
        return
    if ":" in candidate or Path(candidate).suffix in ("", ".py"):
        check_code_place(candidate, "candidate", SettingError, expected_format=CANDIDATE_FORMAT)
    else:
        require_file(Path(candidate), "saved images must be in a file", DataError)


def _check_models_and_data(models: Sequence[str], weights: str, data_options: DataOptions) -> None:
    for spec in models:
        model, own_weights = split_model_and_weights(spec)
        _check_model(model, weights if own_weights == "auto" else own_weights, data_options.data)
    SampleRequest.parse(data_options.limit, data_options.sample, stratified=data_options.stratified)
    name = resolve_data_name(models, data_options.data)
    check_data_path(name, data_options.data_root, data_options.split, download=data_options.download)
    class_map = data_options.class_map
    if class_map is not None and str(class_map) != NUMBERED_CLASS_MAP:
        require_file(class_map, "class map must be a file", DataError)


def _check_model(model: str, weights: str, data: str | None) -> None:
    check_model(model)
    entry, name = find_model_source(model)
    if entry is not None and entry.name == "torchvision":
        check_torchvision_name(name)
    elif entry is not None and entry.name == "factory":
        check_code_place(name, "factory", ModelError)
    if entry is not None and "FILE" in entry.example:
        require_file(Path(name), "model must be a file", ModelError)
    if is_weights_file(weights):
        refuse_address(weights, "weights", "hf", ModelError)
        require_file(Path(weights), "weights must be a file of weights", ModelError)
        return
    has_other_source = name == "resnet18" and data not in (None, BUNDLED_DATA)  # torchvision has one too
    if entry is None and name in BUNDLED_NAMES and not has_other_source and not is_directory(Path(weights)):
        model_card(name, "standard" if weights in ("auto", "none") else weights)
