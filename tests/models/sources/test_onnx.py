"""ONNX files: the same attack as on the module that they came from, and no file read but what lies beside them."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

import robustbench_fgsm as rf
from robustbench_fgsm.errors import ModelError, UnsafeError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx2torch")
pytest.importorskip("onnxscript")

Agrees = Callable[[rf.Classifier, rf.ArrayDataset], bool]


def export(network: nn.Module, file: Path, x: torch.Tensor, *, any_size: bool = True, **settings: Any) -> Path:
    if any_size:
        settings["dynamic_shapes"] = ({0: torch.export.Dim("n")},)
    logging.getLogger("torch.onnx").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(network, (x,), file, dynamo=True, verbose=False, **settings)
    return file


def attack(classifier: rf.Classifier, data: rf.ArrayDataset) -> torch.Tensor:
    batch = next(data.batches(0, 30, 30))
    return classifier.predict(rf.fgsm(classifier, batch.images, batch.labels, 8 / 255)).argmax(1)


@pytest.fixture(scope="module")
def file(difficult: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(difficult, tmp_path_factory.mktemp("onnx") / "net.onnx", torch.rand(2, 1, 28, 28))


@pytest.mark.reference
def test_a_network_matches_its_module(difficult: nn.Module, file: Path, images: rf.ArrayDataset, agrees: Agrees) -> None:
    classifier = rf.load_classifier(str(file))
    assert (classifier.num_classes, classifier.info.spec) == (10, str(file))
    assert torch.equal(attack(classifier, images), attack(rf.wrap(difficult, 10), images))
    assert agrees(classifier, images.head(9))


@pytest.mark.reference
@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize("any_size", [True, False])
def test_a_vision_transformer(
    tmp_path: Path, colour: Callable[..., rf.ArrayDataset], agrees: Agrees, opset: int, any_size: bool
) -> None:
    torch.manual_seed(0)
    network = VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=10).eval()
    nn.init.normal_(network.heads.head.weight)
    file = export(network, tmp_path / "vit.onnx", torch.rand(2, 3, 32, 32), any_size=any_size, opset_version=opset)
    classifier = rf.load_classifier(str(file), mean=[0.5, 0.4, 0.3], std=0.25)
    expected = rf.wrap(network, 10, mean=[0.5, 0.4, 0.3], std=0.25)
    assert torch.equal(attack(classifier, colour()), attack(expected, colour()))
    assert agrees(classifier, colour())


def outside(file: Path, folder: Path, location: str) -> Path:
    """A copy of the model whose first tensor lies in another file."""
    model = onnx.load(file)
    tensor = next(tensor for tensor in model.graph.initializer if len(tensor.raw_data) > 100)
    (folder / "secret.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    inner = folder / "inner"
    inner.mkdir(exist_ok=True)
    (inner / "net.onnx").write_bytes(model.SerializeToString())
    return inner / "net.onnx"


@pytest.mark.parametrize("form", ["parent", "absolute", "symbolic", "hard", "linked folder", "windows", "folder"])
def test_rejects_tensors_outside_the_folder(file: Path, tmp_path: Path, form: str) -> None:
    secret = tmp_path / "secret.bin"
    words = {"parent": "../secret.bin", "absolute": str(secret), "windows": "..\\secret.bin", "linked folder": "sub/secret.bin"}
    model = outside(file, tmp_path, words.get(form, "data.bin"))
    if form == "symbolic":
        (model.parent / "data.bin").symlink_to(secret)
    elif form == "hard":
        os.link(secret, model.parent / "data.bin")
    elif form == "linked folder":
        (model.parent / "sub").symlink_to(tmp_path)
    elif form == "folder":
        (model.parent / "data.bin").mkdir()
    before = secret.stat().st_atime_ns
    os.utime(secret, ns=(0, 0))
    with pytest.raises(UnsafeError, match="external data must be a plain file in the model's folder"):
        rf.load_classifier(str(model))
    assert secret.stat().st_atime_ns == 0 != before


def test_rejects_outside_tensors_in_subgraphs(file: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    tensor = onnx.TensorProto(name="t", data_type=1, data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret.bin")
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["unused"], value=tensor))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UnsafeError, match="leaves its folder"):
        rf.load_classifier(str(tmp_path / "net.onnx"))


def test_tensors_beside_the_file_are_read(file: Path, tmp_path: Path, difficult: nn.Module) -> None:
    model = outside(file, tmp_path, "data.bin")
    (tmp_path / "secret.bin").rename(model.parent / "data.bin")
    x = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(rf.load_classifier(str(model)).predict(x), difficult(x), atol=1e-5, rtol=1e-5)


def test_a_missing_damaged_or_foreign_file(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        rf.load_classifier(str(tmp_path / "net.onnx"))
    (tmp_path / "net.onnx").write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError):
        rf.load_classifier(str(tmp_path / "net.onnx"))
    model = outside(file, tmp_path, "nosuch.bin")
    with pytest.raises(ModelError, match="external data beside it"):
        rf.load_classifier(str(model))


@pytest.mark.parametrize("element", [-1, 99])
def test_names_an_unknown_type_of_images(tmp_path: Path, file: Path, element: int) -> None:
    model = onnx.load(file)
    model.graph.input[0].type.tensor_type.elem_type = element
    onnx.save(model, tmp_path / "type.onnx")
    with pytest.raises(ModelError):
        rf.load_classifier(str(tmp_path / "type.onnx"), num_classes=10)


def test_names_an_unknown_operator(tmp_path: Path, file: Path) -> None:
    model = onnx.load(file)
    model.graph.node[0].op_type = "NoSuchOperator"
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"NoSuchOperator.*: export it with opset_version=17"):
        rf.load_classifier(str(tmp_path / "net.onnx"))


@pytest.mark.parametrize(
    ("start", "end", "step"), [(0, 3, 1), (1, 2**62, 1), (-3, -1, 1), (0, 9, 2), (-1, -(2**62), -1), (4, 1, -2), (9, 12, 1)]
)
def test_slices_are_pythons(start: int, end: int, step: int) -> None:
    from robustbench_fgsm.models.sources.onnx import NarrowSlice

    x = torch.rand(2, 5)
    found = NarrowSlice()(x, torch.tensor([start]), torch.tensor([end]), torch.tensor([-1]), torch.tensor([step]))
    assert found.tolist() == [row[start:end:step] for row in x.tolist()]


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.body(x.permute(0, 3, 1, 2))
        return logits


class Levels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(48, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.output(x.float().flatten(1) / 255)
        return logits


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.output = nn.LSTM(16, 6, batch_first=True), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.output(self.layer(x.flatten(2))[0][:, -1])
        return logits


@pytest.mark.parametrize("any_size", [True, False])
def test_channels_last_and_flat_inputs(tmp_path: Path, any_size: bool) -> None:
    torch.manual_seed(0)
    network, x = ChannelsLast().eval(), torch.rand(6, 3, 8, 9)
    classifier = rf.load_classifier(str(export(network, tmp_path / "net.onnx", torch.rand(2, 8, 9, 3), any_size=any_size)))
    torch.testing.assert_close(classifier.predict(x), network(x.permute(0, 2, 3, 1)).detach())
    adversarial = rf.fgsm(lambda images: network(images.permute(0, 2, 3, 1)), x)
    assert float((rf.fgsm(classifier, x) == adversarial).float().mean()) > 0.99
    flat = nn.Linear(216, 5)
    classifier = rf.load_classifier(str(export(flat, tmp_path / "flat.onnx", torch.rand(2, 216), any_size=any_size)))
    torch.testing.assert_close(classifier.predict(x), flat(x.flatten(1)).detach())


def test_8_bit_inputs_are_levels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, levels = Levels().eval(), torch.randint(0, 256, (6, 3, 4, 4), dtype=torch.uint8)
    classifier = rf.load_classifier(str(export(network, tmp_path / "net.onnx", levels[:2])))
    assert classifier.info.std is not None
    assert classifier.info.std[0] == pytest.approx(1 / 255)
    torch.testing.assert_close(classifier.predict(levels / 255), network(levels).detach())
    assert not torch.equal(rf.fgsm(classifier, levels / 255), levels / 255)
    wide = rf.load_classifier(str(tmp_path / "net.onnx"), bounds=(0, 255))
    torch.testing.assert_close(wide.predict(levels.float()), network(levels).detach())
    export(network, tmp_path / "wide.onnx", levels[:2].long())
    with pytest.raises(ModelError, match="which range its integer images have, got none: pass --bounds 0,255"):
        rf.load_classifier(str(tmp_path / "wide.onnx"))
    again = rf.load_classifier(str(tmp_path / "wide.onnx"), bounds=(0, 255))  # as the error says
    torch.testing.assert_close(again.predict(levels.float()), network(levels).detach())


@pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")  # PyTorch's, of its own LSTM
def test_recurrent_operators(tmp_path: Path) -> None:
    network, x = Recurrent().eval(), torch.rand(4, 3, 4, 4)
    file = export(network, tmp_path / "net.onnx", x, any_size=False)
    with pytest.raises(ModelError, match=r"got LSTM, a recurrent one: .* pass network\.pt2 with --trust-model-code"):
        rf.load_classifier(str(file))
    torch.export.save(torch.export.export(network, (x,)), tmp_path / "network.pt2")  # as the error says
    classifier = rf.load_classifier(str(tmp_path / "network.pt2"), trust_model_code=True)
    torch.testing.assert_close(classifier.predict(x), network(x).detach())
    assert not torch.equal(rf.fgsm(classifier, x), x)
