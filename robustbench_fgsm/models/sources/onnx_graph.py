"""Conversion of an ONNX graph to an older operator set that the converter knows, if the meaning is the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from robustbench_fgsm.errors import ModelError

MAX_OPSET = 17
"""The newest operator set that the converter knows as a whole."""

UNCHANGED_OPERATORS = {
    "Cast": ("saturate", "round_mode"),
    "Constant": (),
    "ConstantOfShape": (),
    "Equal": (),
    "Flatten": (),
    "Identity": (),
    "Reshape": (),
    "Shape": (),
    "Size": (),
    "Squeeze": (),
    "Transpose": (),
    "Unsqueeze": (),
}
"""Operators that newer sets only open to more types, and attributes that concern those types alone."""

NONZERO_OPERATORS = {"Concat", "Gather", "Identity", "Mul", "Reshape", "Slice", "Squeeze", "Unsqueeze"}
"""Operators that make no zero of numbers without one."""

REDUCTION_OPERATORS = {f"Reduce{name}" for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")}
"""Newer sets take their axes as an input."""


def downgrade_opset(model: Any, file_name: str) -> Any:
    """Return the model, changed in place: operator set 17 at most, and one name for each constant.

    Raises ModelError if the older set has no equivalent of an operator.
    """
    _remove_constant_aliases(model.graph)
    opset = next((entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    version = 0 if opset is None else opset.version
    constants = _constant_arrays(model.graph)
    nonzero = _nonzero_shapes(model.graph, constants)
    _expand_gelu(model.graph)
    for node in list(model.graph.node):
        if node.op_type == "Reshape" and node.input[1] in nonzero:
            _drop_attributes(node, "allowzero")
        if version > MAX_OPSET and node.domain in ("", "ai.onnx") and _operator_changed(node.op_type, version):
            _downgrade_node(node, constants, model.graph, file_name, version)
    if opset is not None:
        opset.version = min(version, MAX_OPSET)
    return model


def _operator_changed(operator: str, version: int) -> bool:
    if not onnx.defs.has(operator):
        return False
    try:
        older = onnx.defs.get_schema(operator, MAX_OPSET).since_version
    except onnx.defs.SchemaError:
        return True
    return bool(onnx.defs.get_schema(operator, version).since_version != older)


def _remove_constant_aliases(graph: Any) -> None:
    """Replace second names of constants, which Identity nodes give, by the constants' own names."""
    constants, names = {tensor.name for tensor in graph.initializer}, dict[str, str]()
    outputs = {value.name for value in graph.output}
    for node in list(graph.node):
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
        if node.op_type == "Identity" and node.input[0] in constants and node.output[0] not in outputs:
            names[node.output[0]] = node.input[0]
            graph.node.remove(node)


def _expand_gelu(graph: Any) -> None:
    """Replace Gelu, new in set 20, by x * (1 + erf(x / sqrt 2)) / 2; its approximation by tanh stays."""
    nodes = []
    for node in graph.node:
        if node.op_type != "Gelu" or _attributes(node).get("approximate", b"none") != b"none":
            nodes.append(node)
            continue
        (x,), (y,) = node.input, node.output
        for name, value in (("root", math.sqrt(2)), ("one", 1.0), ("half", 0.5)):
            graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), f"{y}/{name}"))
        steps = [
            ("Div", [x, f"{y}/root"], f"{y}/scaled"),
            ("Erf", [f"{y}/scaled"], f"{y}/erf"),
            ("Add", [f"{y}/erf", f"{y}/one"], f"{y}/shifted"),
            ("Mul", [f"{y}/shifted", f"{y}/half"], f"{y}/halved"),
            ("Mul", [x, f"{y}/halved"], y),
        ]
        nodes += [helper.make_node(word, inputs, [output], name=output) for word, inputs, output in steps]
    del graph.node[:]
    graph.node.extend(nodes)


def _constant_arrays(graph: Any) -> dict[str, Any]:
    """Return arrays that do not depend on the images, by name."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def _attributes(node: Any) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _drop_attributes(node: Any, *names: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)


def _nonzero_shapes(graph: Any, constants: dict[str, Any]) -> set[str]:
    """Return the names of whole numbers without a zero: constants, lengths of axes of images, and what is made of both."""
    integers = {name: tensor for name, tensor in constants.items() if tensor.data_type == onnx.TensorProto.INT64}
    found = {name for name, tensor in integers.items() if numpy_helper.to_array(tensor).all()}
    for node in graph.node:
        parts = node.input if node.op_type in ("Concat", "Mul") else node.input[:1]
        if node.op_type == "Shape" or (node.op_type in NONZERO_OPERATORS and found.issuperset(parts)):
            found.update(node.output)
    return found


def _splits_evenly(node: Any, graph: Any) -> bool:
    """Return True if the axis has a known length and is split into equal parts: the older set has no other split."""
    known = [value for value in (*graph.value_info, *graph.input) if value.name == node.input[0]]
    shape = [dimension.dim_value for dimension in known[0].type.tensor_type.shape.dim] if known else []
    axis = _attributes(node).get("axis", 0)
    return bool(-len(shape) <= axis < len(shape) and shape[axis] and shape[axis] % len(node.output) == 0)


def _downgrade_node(node: Any, constants: dict[str, Any], graph: Any, file_name: str, version: int) -> None:
    attributes = _attributes(node)
    if node.op_type in UNCHANGED_OPERATORS:
        _drop_attributes(node, *UNCHANGED_OPERATORS[node.op_type])
        return
    if node.op_type in REDUCTION_OPERATORS and (len(node.input) == 1 or node.input[1] in constants):
        if len(node.input) > 1:
            axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
            del node.input[1:]
            node.attribute.append(helper.make_attribute("axes", axes))
        elif attributes.get("noop_with_empty_axes"):
            node.op_type = "Identity"
            _drop_attributes(node, "keepdims")
        _drop_attributes(node, "noop_with_empty_axes")
        return
    if node.op_type == "Split" and (len(node.input) > 1 or _splits_evenly(node, graph)):
        _drop_attributes(node, "num_outputs")
        return
    plain_pool = node.op_type == "AveragePool" and set(attributes.get("dilations", [1])) == {1} and not attributes.get("ceil_mode")
    plain_pad = node.op_type == "Pad" and len(node.input) < 4 and attributes.get("mode", b"constant") != b"wrap"
    if plain_pool or plain_pad:
        _drop_attributes(node, "dilations")
        return
    raise ModelError(
        f"{file_name} must have operators of set {MAX_OPSET} or ones that mean the same, got {node.op_type} of set {version}: "
        f"export it with opset_version={MAX_OPSET} or 18"
    )
