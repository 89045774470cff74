"""ONNX files, made differentiable by onnx2torch. An ONNX file is data: only its operators are run."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from robustbench_fgsm.errors import ModelError, describe_error, is_out_of_memory
from robustbench_fgsm.models.checkpoint import check_finite_weights
from robustbench_fgsm.models.classifier import ChannelStatistic, PixelSpaceNetwork, TorchClassifier
from robustbench_fgsm.models.exported_graph import ExportedGraph
from robustbench_fgsm.models.image_axes import arrange_inputs
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.models.sources.onnx_file import read_model
from robustbench_fgsm.models.sources.onnx_graph import downgrade_opset

RECURRENT_OPERATORS = {"GRU", "LSTM", "RNN"}

PROGRAM_REMEDY = (
    "pass the PyTorch network as factory:FILE.py:FUNCTION, or write it with torch.export.save(torch.export.export(network.eval(), "
    "(images,)), 'network.pt2') and pass network.pt2 with --trust-model-code"
)


def load(request: ModelRequest) -> TorchClassifier:
    """Return the network of a file, from images to logits; mean and std if it does not normalise inside.

    Images are arranged with channels last, or flat, if the graph's input has this shape. 8-bit images get the levels 0 to 255.
    Raises UnsafeError if a tensor lies outside the file's folder; ModelError if the file cannot be read, or an operator cannot be
    differentiated.
    """
    request.allow_only("num_classes", "mean", "std", "bounds")
    file = Path(request.name)
    model, digest = read_model(file)
    names = {tensor.name for tensor in model.graph.initializer}
    images = [value for value in model.graph.input if value.name not in names]
    if len(images) != 1 or len(model.graph.output) != 1:
        raise ModelError(
            f"{file} must take images alone and return logits alone, got {len(images)} inputs and "
            f"{len(model.graph.output)} outputs: export it so"
        )
    batch_size, num_classes = _axis_length(images[0], 0), request.num_classes or _axis_length(model.graph.output[0], 1)
    network = ExportedGraph(_convert_to_torch(model, file), batch_size)
    check_finite_weights(network, request.spec)
    shape = [dimension.dim_value or None for dimension in images[0].type.tensor_type.shape.dim]
    if shape:
        network.register_forward_pre_hook(partial(arrange_inputs, shape[1:]))
    wrapped = PixelSpaceNetwork(network, request.mean, _standard_deviation(images[0], request))
    return request.build_classifier(wrapped, num_classes, "given", file_sha256=digest, has_variants=False)


def _standard_deviation(images: Any, request: ModelRequest) -> ChannelStatistic | None:
    """Return the standard deviation of the normalisation: 1/255 for a graph of 8-bit images, so that its images lie in [0, 1].

    Raises ModelError for other integers, whose range is unknown, unless the request has bounds or a normalisation.
    """
    element = images.type.tensor_type.elem_type
    try:
        integer = np.issubdtype(onnx.helper.tensor_dtype_to_np_dtype(element), np.integer) if element else False
    except KeyError:
        raise ModelError(f"{request.spec} must have images of a type of ONNX, got type {element}: export it again") from None
    if not integer or request.bounds or request.mean is not None or request.std is not None:
        return request.std
    if element == onnx.TensorProto.UINT8:
        return 1 / 255
    raise ModelError(
        f"{request.spec} must say which range its integer images have, got none: pass --bounds 0,255 if they are 8-bit levels"
    )


def _axis_length(value: Any, axis: int) -> int | None:
    """Return the length of an axis, None if the model does not fix it."""
    dimensions = value.type.tensor_type.shape.dim
    return int(dimensions[axis].dim_value) or None if len(dimensions) > axis else None


class NarrowSlice(nn.Module):
    """ONNX's Slice in place of onnx2torch's, which indexes by a list, an indexing that PyTorch will interpret differently."""

    def forward(self, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None) -> Tensor:
        """Return a part of x; limits beyond an axis, or negative ones, have Python's meaning."""
        along = range(len(starts)) if axes is None else axes.tolist()
        strides = [1] * len(starts) if steps is None else steps.tolist()
        for start, end, axis, step in zip(starts.tolist(), ends.tolist(), along, strides, strict=True):
            kept = range(x.shape[axis])[start:end:step]
            if step == 1:
                x = x.narrow(axis, kept.start, len(kept))
            else:
                x = x.index_select(axis, torch.tensor(list(kept), dtype=torch.int64, device=x.device))
        return x


def _convert_to_torch(model: Any, file: Path) -> nn.Module:
    if recurrent := {node.op_type for node in model.graph.node} & RECURRENT_OPERATORS:
        raise ModelError(
            f"{file} must have operators that onnx2torch knows, got {min(recurrent)}, a recurrent one: {PROGRAM_REMEDY}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own use of PyTorch
            from onnx2torch import convert

            network: nn.Module = convert(downgrade_opset(model, str(file)))
    except ModelError:
        raise
    except Exception as error:  # an unusual value of a graph may cause any error in the converter
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"{file} must have operators that onnx2torch knows, got {describe_error(error)}: export it with "
            f"opset_version=17; if that fails too, {PROGRAM_REMEDY}"
        ) from error
    for name, part in network.named_children():
        if type(part).__name__ == "OnnxSlice":
            setattr(network, name, NarrowSlice())
    return network
