"""ONNX files whose sizes, places, operators or operator sets are wrong: one line, before anything is converted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.errors import InputError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx2torch")


@pytest.fixture
def model() -> Any:
    """A linear network on images of 2 x 2 pixels."""
    arrays = {"w": np.ones((3, 4), np.float32), "b": np.zeros(3, np.float32)}
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [make("Flatten", ["x"], ["f"], axis=1), make("Gemm", ["f", "w", "b"], ["y"], transB=1)],
        "graph",
        [info("x", onnx.TensorProto.FLOAT, ["n", 1, 2, 2])],
        [info("y", onnx.TensorProto.FLOAT, ["n", 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


def load(model: Any, file: Path) -> rf.Classifier:
    file.write_bytes(model.SerializeToString())
    return rf.load_classifier(str(file))


def external(model: Any, file: Path) -> Any:
    """Move the weights to a file beside the model."""
    onnx.save_model(model, file, save_as_external_data=True, location="net.data", size_threshold=0)
    return onnx.load_model(file, load_external_data=False)


def test_a_valid_model(model: Any, tmp_path: Path) -> None:
    assert torch.equal(load(model, tmp_path / "net.onnx").predict(torch.ones(1, 1, 2, 2)), torch.full((1, 3), 4.0))
    assert load(external(model, tmp_path / "far.onnx"), tmp_path / "far.onnx").num_classes == 3


def set_dims(model: Any) -> None:
    model.graph.initializer[0].dims[0] = 2**40


def set_type(model: Any) -> None:
    model.graph.initializer[0].data_type = 999


def set_domain(model: Any) -> None:
    model.graph.node[0].domain = "com.example"


def set_version(model: Any) -> None:
    model.opset_import[0].version = 10_000


def remove_version(model: Any) -> None:
    del model.opset_import[:]


def set_attribute(model: Any) -> None:
    model.graph.node[1].attribute[0].name = "nonsense"


def remove_node(model: Any) -> None:
    del model.graph.node[0]


def set_negative_dims(model: Any) -> None:
    model.graph.initializer[0].dims[0] = -3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_dims, r"tensor 'w' of .* must have as many values as its dims \[1099511627776, 4\] state"),
        (set_type, r"tensor 'w' of .* must have a valid data_type, got 999"),
        (set_domain, r"must have operators of ONNX alone, got Flatten of 'com\.example'"),
        (set_version, r"must import operator set 1 to \d+, got 10000"),
        (remove_version, r"must import operator set 1 to \d+, got None"),
        (set_attribute, "nonsense"),
        (remove_node, "must be a valid ONNX model"),
        (set_negative_dims, r"tensor 'w' of .* must have valid dims"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_names_what_is_wrong(model: Any, tmp_path: Path, change: Callable[[Any], None], message: str) -> None:
    change(model)
    with pytest.raises(InputError, match=message) as said:
        load(model, tmp_path / "net.onnx")
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("offset", "-1", "must have a valid offset, got '-1'"),
        ("offset", "x", "must have a valid offset"),
        ("length", "4000000000000", "must have 48 bytes"),
        ("length", "4", "must have 48 bytes, got 4"),
        ("basepath", "/etc", "must have a valid basepath, got '/etc'"),
        ("__class__", "x", "must have a valid __class__"),
    ],
)
def test_external_data_are_as_long_as_they_state(model: Any, tmp_path: Path, key: str, value: str, message: str) -> None:
    changed = external(model, tmp_path / "net.onnx")
    entries = changed.graph.initializer[0].external_data
    found = [entry for entry in entries if entry.key == key] or [entries.add(key=key)]
    found[0].value = value
    with pytest.raises(InputError, match=message):
        load(changed, tmp_path / "net.onnx")
