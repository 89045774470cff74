"""Recorded PyTorch programs: `.pt2` files of torch.export, and TorchScript in `.pt` files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from robustbench_fgsm.errors import ModelError, RfgsmError, first_line
from robustbench_fgsm.files.regular_files import hash_file, open_to_read
from robustbench_fgsm.files.zip_archives import ZIP_ERRORS, check_checksums, open_zip
from robustbench_fgsm.models.checkpoint import check_finite_weights, read_weights
from robustbench_fgsm.models.classifier import PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.models.exported_graph import ExportedGraph, check_evaluation_mode
from robustbench_fgsm.models.request import ModelRequest


def load(request: ModelRequest) -> TorchClassifier:
    """Return the program of a file, from images to logits; mean and std if it does not normalise inside.

    torch.export.load falls back to an unrestricted pickle, and TorchScript is code. Raises UnsafeError if the file's code is not
    trusted; ModelError if the file is not such a program, or was recorded in train mode.
    """
    file = request.existing_file()
    exported = file.suffix.lower() == ".pt2"
    if not exported and not is_torchscript(file):
        read_weights(file)  # which refuses a pickle that asks for more than tensors
        raise ModelError(
            f"model must be a program, got {file}, which is none: for a state dict pass --model ARCHITECTURE --weights {file}"
        )
    file_kind = "an exported program" if exported else "TorchScript"
    request.require_trust(file_kind, "loading it can run what it holds")
    request.allow_only("num_classes", "mean", "std", "bounds")
    network, outputs = (
        _read_exported_program(file) if exported else (_read_program(torch.jit.load, file, map_location="cpu").eval(), None)
    )
    check_finite_weights(network, request.spec)
    wrapped, num_classes = PixelSpaceNetwork(network, request.mean, request.std), request.num_classes or outputs
    return request.build_classifier(wrapped, num_classes, "given", file_sha256=hash_file(file), has_variants=False)


def is_torchscript(file: Path) -> bool:
    """Return True if the file is an archive that holds a program, by the names of its members."""
    return any(name.endswith("constants.pkl") for name in _member_names(file))


def _member_names(file: Path) -> list[str]:
    """Return the names of the members of an archive, an empty list for another file; raise FileError for a bomb."""
    try:
        with open_to_read(file, follow_links=True) as stream, open_zip(stream, file) as archive:
            return archive.namelist()
    except ZIP_ERRORS:
        return []


def _read_program(reader: Callable[..., Any], file: Path, **settings: Any) -> Any:
    try:
        with open_to_read(file, follow_links=True) as stream, open_zip(stream, file) as archive:
            check_checksums(archive)
        return reader(str(file), **settings)
    except RfgsmError:
        raise
    except Exception as error:  # the reader unpickles, which may raise any error
        raise ModelError(
            f"model must be a program that PyTorch saved, got {file}, which cannot be read "
            f"({type(error).__name__}: {first_line(error)}): export it again"
        ) from error


def _read_exported_program(file: Path) -> tuple[ExportedGraph, int | None]:
    if not _member_names(file):
        raise ModelError(f"model must be an archive of torch.export.save, got {file}, which is none: export it again")
    program = _read_program(torch.export.load, file)
    check_evaluation_mode(program.graph, f"program {file}")
    nodes = {node.name: node for node in program.graph.nodes}
    inputs, outputs = program.graph_signature.user_inputs, program.graph_signature.user_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(f"program {file} must take images alone and return logits alone, got {len(inputs)} and {len(outputs)}")
    images, logits = (nodes[str(name)].meta["val"].shape for name in (inputs[0], outputs[0]))
    batch_size = images[0] if isinstance(images[0], int) else None
    classes = logits[1] if len(logits) == 2 and isinstance(logits[1], int) else None
    return ExportedGraph(program.module(), batch_size), classes
