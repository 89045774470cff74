"""Check names, files and settings of a command before torch is imported, so that a mistyped word is answered at once."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from robustbench_fgsm.cli.load import resolve_data_name
from robustbench_fgsm.cli.options import DataOptions, ModelOptions, OutputOptions
from robustbench_fgsm.data.registry import NUMBERED_CLASS_MAP, check_data_path
from robustbench_fgsm.data.sample_request import SampleRequest
from robustbench_fgsm.errors import DataError, ModelError, SettingError
from robustbench_fgsm.files.regular_files import is_directory, is_file, read_text, require_file
from robustbench_fgsm.models.cards import file_of_weights, is_weights_file, model_card
from robustbench_fgsm.models.names import (
    check_model,
    check_timm_name,
    check_torchvision_name,
    check_torchvision_weights,
    is_bundled,
    split_model_and_weights,
)
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
    for group in groups.keys() & {ModelOptions, ReloadOptions}:
        _check_device(groups[group].device)
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
    elif entry is not None and entry.name == "timm":
        check_timm_name(name)
    elif entry is not None and entry.name == "factory":
        check_code_place(name, "factory", ModelError)
    if entry is not None and "FILE" in entry.example:
        require_file(Path(name), "model must be a file", ModelError)
    weights = file_of_weights(weights)
    if is_weights_file(weights):
        refuse_address(weights, "weights", "hf", ModelError)
        require_file(Path(weights), "weights must be a file of weights", ModelError)
        return
    if entry is None and is_bundled(name, weights, data):
        model_card(name, "standard" if weights in ("auto", "none") else weights)
    elif entry is None or entry.name == "torchvision":
        check_torchvision_weights(name, weights)


def _check_device(device: str) -> None:
    """Raise SettingError for a kind of device that this machine surely lacks, as `pick_device` does for all others."""
    kind = device.partition(":")[0]
    reason = "only macOS has it" if kind == "mps" and sys.platform != "darwin" else ""
    if kind == "cuda" and sys.platform == "linux" and "hip: Optional[str] = None" in _torch_version_source():
        try:
            ctypes.CDLL("libcuda.so.1")  # the driver, which CUDA loads by this name
        except OSError:
            reason = "Found no NVIDIA driver on your system"
    if reason:
        raise SettingError(f"device must be auto, cpu or one that PyTorch has here, got {device!r} ({reason}): pass cpu or auto")


def _torch_version_source() -> str:
    """Return the file in which PyTorch says for which devices it was built, empty if it is not found."""
    package = find_spec("torch")
    files = [Path(place) / "version.py" for place in (package and package.submodule_search_locations) or ()]
    return "".join(read_text(file, follow_links=True) for file in files if is_file(file))
