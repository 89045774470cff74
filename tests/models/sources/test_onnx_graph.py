"""Newer operators in older words, only where they mean the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from robustbench_fgsm.errors import ModelError

onnx = pytest.importorskip("onnx")
onnx2torch = pytest.importorskip("onnx2torch")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from robustbench_fgsm.models.sources.onnx_graph import downgrade_opset  # noqa: E402


def model(*nodes: Any, shape: tuple[int, ...] = (2, 6), opset: int = 20, **constants: Any) -> Any:
    """A graph from `x` of that shape to `y`."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def run(made: Any, x: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = onnx2torch.convert(downgrade_opset(made, "here"))(x)
    return found


X = torch.linspace(-2, 3, 12).view(2, 6)


def test_gelu_is_spelled_out() -> None:
    found = run(model(helper.make_node("Gelu", ["x"], ["y"])), X)
    torch.testing.assert_close(found, torch.nn.functional.gelu(X))


def test_gelu_by_tanh_is_another() -> None:
    with pytest.raises(ModelError, match="got Gelu of set 20"):
        downgrade_opset(model(helper.make_node("Gelu", ["x"], ["y"], approximate="tanh")), "here")


def test_axes_of_a_reduction_become_attributes() -> None:
    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], name="mean", keepdims=0)
    torch.testing.assert_close(run(model(node, axes=[1]), X), X.mean(1))


def test_equal_split_becomes_the_older_one() -> None:
    split = helper.make_node("Split", ["x"], ["left", "right"], name="split", axis=1, num_outputs=2)
    product = helper.make_node("Mul", ["left", "right"], ["y"], name="product")
    torch.testing.assert_close(run(model(split, product), X), X[:, :3] * X[:, 3:])


def test_rejects_an_unequal_split() -> None:
    split = helper.make_node("Split", ["x"], ["y", "z", "u", "v"], axis=1, num_outputs=4)
    with pytest.raises(ModelError, match="got Split of set 20"):
        downgrade_opset(model(split), "here")


def test_resolves_a_constant_alias() -> None:
    nodes = [
        helper.make_node("Identity", ["w"], ["again"], name="again"),
        helper.make_node("Gemm", ["x", "w", "again"], ["y"], name="gemm"),
    ]
    adapted = downgrade_opset(model(*nodes, w=np.ones((6, 6), np.float32)), "here")
    assert [(node.op_type, list(node.input)) for node in adapted.graph.node] == [("Gemm", ["x", "w", "w"])]


@pytest.mark.parametrize(("shape", "plain"), [([3, 4], True), ([0, -1], False)])
def test_removes_allowzero_without_a_zero(shape: list[int], plain: bool) -> None:
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1)
    made = model(node, opset=18)
    made.graph.initializer.append(numpy_helper.from_array(np.array(shape), "shape"))
    adapted = downgrade_opset(made, "here")
    assert (not adapted.graph.node[0].attribute) == plain


def reshaped_by_lengths(factor: int) -> Any:
    """A graph whose new shape is (images * factor, 2), as the exporter of PyTorch 2.10 writes it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["lengths"]),
        helper.make_node("Gather", ["lengths", "first"], ["images"]),
        helper.make_node("Mul", ["images", "factor"], ["rows"]),
        helper.make_node("Concat", ["rows", "width"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1),
    ]
    return model(*nodes, opset=18, first=[0], factor=[factor], width=[2])


def test_lengths_of_axes_are_not_zero() -> None:
    assert torch.equal(run(reshaped_by_lengths(3), X), X.view(6, 2))
    with pytest.raises(NotImplementedError, match="allowzero"):
        run(reshaped_by_lengths(0), X)


def test_older_models_keep_their_set() -> None:
    assert downgrade_opset(model(helper.make_node("Relu", ["x"], ["y"]), opset=13), "here").opset_import[0].version == 13
    assert downgrade_opset(model(helper.make_node("Relu", ["x"], ["y"]), opset=20), "here").opset_import[0].version == 17
