"""Test what a network may return: containers, shapes, one output, sigmoids, and the errors about the rest."""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import robustbench_fgsm as rf
from robustbench_fgsm.attack.fgsm import StepSettings, compute_gradient_step
from robustbench_fgsm.attack.losses import get_loss
from robustbench_fgsm.attack.outputs import OutputReader, check_outputs, kind_of_outputs, predict_noise, read_for_loss, two_columns
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.spec import PIXEL_BOUNDS

EPSILON = 8 / 255
CLASSES = tuple("abcde")
IMAGES = torch.rand(9, 1, 3, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(9) % 5


@dataclass
class Output:
    logits: Tensor
    features: Tensor | None = None


@dataclass
class Scores:
    scores: Tensor


class Named(NamedTuple):
    logits: Tensor
    aux_logits: Tensor


class Pair(NamedTuple):
    first: Tensor
    features: Tensor


class Slots:
    __slots__ = ("logits",)

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Property:
    def __init__(self, logits: Tensor) -> None:
        self.tensors = (logits, 2 * logits)

    @property
    def logits(self) -> Tensor:
        return self.tensors[0]


UNDERSTOOD: dict[str, Callable[[Tensor], object]] = {
    "tensor": lambda z: z,
    "dict": lambda z: {"logits": z, "features": z.repeat(1, 2), "loss": None},
    "ordered dict": lambda z: OrderedDict(features=z.repeat(1, 2), logits=z),
    "dict of one": lambda z: {"out": z},
    "tuple": lambda z: (z, z.repeat(1, 3)),
    "tuple with None": lambda z: (z, None),
    "list": lambda z: [z],
    "predictions beside": lambda z: {"scores": z, "classes": z.argmax(1)},
    "loss first": lambda z: (z.sum(), z),
    "maps first": lambda z: (z[:, :, None, None].repeat(1, 1, 2, 2), z),
    "named tuple": lambda z: Named(logits=z, aux_logits=2 * z),
    "named tuple, no logits": lambda z: Pair(z, z.repeat(1, 3)),
    "dataclass": lambda z: Output(z, z.repeat(1, 3)),
    "dataclass of one": Scores,
    "slots": Slots,
    "property": Property,
    "sparse": lambda z: z.to_sparse(),
    "object": lambda z: SimpleNamespace(logits=z, name="a"),
    "nested": lambda z: {"outputs": {"logits": z, "hidden": (z, z)}},
    "pooled map": lambda z: z[:, :, None, None],
    "time axis": lambda z: z[:, None, :],
    "squeezed": lambda z: z.squeeze(),
    "squeezed map": lambda z: z[:, :, None, None].squeeze(),
}


class Returns(nn.Module):
    """A linear network whose logits are returned in another form."""

    def __init__(self, form: Callable[[Tensor], object], num_outputs: int = 5) -> None:
        super().__init__()
        self.layer = nn.Linear(9, num_outputs)
        torch.nn.init.normal_(self.layer.weight, generator=torch.Generator().manual_seed(1))
        torch.nn.init.zeros_(self.layer.bias)
        self.form = form

    def forward(self, x: Tensor) -> object:
        return self.form(self.layer(x.flatten(1)))


def by_hand(loss: Callable[[Tensor], Tensor], x: Tensor = IMAGES) -> Tensor:
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    return (x + EPSILON * gradient.sign()).clamp(0, 1)


def data(labels: Tensor = LABELS, classes: tuple[str, ...] = CLASSES) -> rf.ArrayDataset:
    return rf.ArrayDataset("letters", IMAGES, labels, classes)


@pytest.mark.parametrize("form", UNDERSTOOD.values(), ids=UNDERSTOOD)
@pytest.mark.parametrize("n", [9, 2, 1])
@pytest.mark.parametrize("labelled", [True, False])
def test_fgsm_understands(form: Callable[[Tensor], object], n: int, *, labelled: bool) -> None:
    network, x = Returns(form), IMAGES[:n]
    plain = network.layer(x.flatten(1))
    y = LABELS[:n] if labelled else plain.argmax(1)
    expected = by_hand(lambda leaf: functional.cross_entropy(network.layer(leaf.flatten(1)), y, reduction="sum"), x)
    given = LABELS[:n] if labelled else None
    assert torch.equal(rf.fgsm(network, x, given), expected)
    assert torch.equal(rf.fgsm(network.forward, x, given), expected)
    assert torch.equal(rf.fgsm(rf.wrap(network, 5), x, given), expected)


@pytest.mark.parametrize("form", UNDERSTOOD.values(), ids=UNDERSTOOD)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_evaluate_understands(form: Callable[[Tensor], object], batch_size: int) -> None:
    network = Returns(form)
    adversarial = by_hand(lambda leaf: functional.cross_entropy(network.layer(leaf.flatten(1)), LABELS, reduction="sum"))
    evaluation = rf.evaluate(rf.wrap(network, 5), data(), batch_size=batch_size)
    right = [int((network.layer(x.flatten(1)).argmax(1) == LABELS).sum()) for x in (IMAGES, adversarial)]
    assert [evaluation.clean_accuracy.count, evaluation.tallies[0].robust_accuracy.count] == right


class Reuses(Returns):
    """A network that writes its outputs into one tensor at each call."""

    def __init__(self, *, also_with_gradient: bool) -> None:
        super().__init__(self.write)
        self.also_with_gradient = also_with_gradient
        self.outputs = torch.empty(0)

    def write(self, z: Tensor) -> Tensor:
        if z.requires_grad and not self.also_with_gradient:
            return z
        self.outputs = torch.empty_like(z) if self.outputs.shape != z.shape else self.outputs.detach()
        return self.outputs.copy_(z)


@pytest.mark.parametrize("also_with_gradient", [True, False])
def test_outputs_that_a_later_call_overwrites(*, also_with_gradient: bool) -> None:
    plain = nn.Sequential(nn.Flatten(), (network := Reuses(also_with_gradient=also_with_gradient)).layer)
    y = plain(IMAGES).argmax(1)
    expected, found = rf.evaluate(plain, data(y), 1.0), rf.evaluate(rf.wrap(network, 5), data(y), 1.0)
    assert expected.clean_accuracy.count == 9
    assert expected.tallies[0].robust_accuracy.count < 9
    assert found.clean_accuracy == expected.clean_accuracy
    assert found.tallies[0].robust_accuracy == expected.tallies[0].robust_accuracy
    step = compute_gradient_step(network, IMAGES, y, StepSettings(math.inf))
    before = step.outputs.clone()
    rf.fgsm(network, 1 - IMAGES, y)
    assert torch.equal(step.outputs, before)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_outputs_of_8_bits(dtype: torch.dtype) -> None:
    network = Returns(lambda z: z.to(dtype))
    plain = network.layer(IMAGES.flatten(1)).to(dtype).float()
    evaluation = rf.evaluate(rf.wrap(network, 5), data())
    assert evaluation.clean_accuracy.count == int((plain.argmax(1) == LABELS).sum())
    assert rf.fgsm(network, IMAGES, LABELS).shape == IMAGES.shape


@pytest.mark.parametrize("n", [4, 1])
def test_one_output_beside_features(n: int) -> None:
    logit, features = torch.rand(n, 1), torch.rand(n, 7)
    assert torch.equal(OutputReader()((logit, features), n)[:, 1:], logit)
    assert torch.equal(OutputReader(2)((features, logit), n)[:, 1:], logit)
    with pytest.raises(ModelError, match="tuple with"):
        OutputReader()((features, logit), n)


@pytest.mark.parametrize("index", [0, 1])
def test_the_number_of_classes_decides(index: int) -> None:
    logits, features = torch.rand(4, 5), torch.rand(4, 7)
    entries = (logits, features) if index == 0 else (features, logits)
    assert OutputReader(5)(entries, 4) is logits
    assert OutputReader(5)({"a": entries[0], "b": entries[1]}, 4) is logits


REFUSED: dict[str, tuple[object, str]] = {
    "features first": ((torch.rand(4, 7), torch.rand(4, 5)), r"tuple with \[0\] \(4, 7\), \[1\] \(4, 5\): .*forward\(x\)\[0\]"),
    "dict of two": ({"a": torch.rand(4, 5), "b": torch.rand(4, 5)}, r"dict with a \(4, 5\), b \(4, 5\): .*forward\(x\)\['a'\]"),
    "columns": ((torch.rand(4, 1), torch.rand(4, 1)), r"tuple with"),
    "an ensemble": ([torch.rand(4, 5)] * 2, r"list with \[0\] \(4, 5\), \[1\] \(4, 5\): return the logits alone"),
    "one for each image": ([torch.rand(5)] * 4, r"list with .*torch.stack\(forward\(x\)\)$"),
    "one for each class": ([torch.rand(4)] * 5, r"list with .*torch.stack\(forward\(x\), 1\)$"),
    "empty": ((), r"got tuple: return a tensor of logits"),
    "repeated": (torch.rand(8, 5), r"got \(8, 5\): keep the first axis"),
    "nothing": (None, r"got NoneType: return a tensor of logits"),
    "text": ("cat", r"got str"),
    "array": (torch.rand(4, 5).numpy(), r"got ndarray"),
    "classes": (torch.tensor([0, 1, 2, 3]), r"floating-point logits, got int64 of shape \(4,\): .*before argmax"),
    "one row": (torch.rand(1, 5), r"got \(1, 5\): keep the first axis"),
    "segmentation": (torch.rand(4, 5, 6, 6), r"got \(4, 5, 6, 6\): .*loss of your own"),
    "segmentation in a dict": ({"logits": torch.rand(4, 5, 6, 6)}, r"got \(4, 5, 6, 6\): .*loss of your own"),
    "without data": (torch.rand(4, 5, device="meta"), r"\(4, 5\) on device meta: load its weights"),
    "flat": (torch.rand(20), r"got \(20,\)"),
}


@pytest.mark.parametrize(("returned", "problem"), REFUSED.values(), ids=REFUSED)
def test_one_line_about_the_rest(returned: object, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        OutputReader()(returned, 4)
    network = Returns(lambda _: returned)
    with pytest.raises(ModelError):
        rf.fgsm(network, IMAGES[:4], LABELS[:4])


def test_another_number_of_classes() -> None:
    with pytest.raises(ModelError, match=r"\(4, 3\) for 4 images, got \(4, 5\): .*--num-classes 5"):
        OutputReader(3)(torch.rand(4, 5), 4)
    assert OutputReader(5)(torch.rand(4, 5), 4).shape == (4, 5)
    with pytest.raises(ModelError, match=r"got \(4, 1\): its classes are 2"):
        OutputReader(10)(torch.rand(4, 1), 4)


def test_the_remedy_of_a_field() -> None:
    network = Returns(lambda z: (z.repeat(1, 2), z))
    with pytest.raises(ModelError, match=r"for example forward\(x\)\[0\]"):
        rf.fgsm(network, IMAGES, LABELS)
    expected = rf.fgsm(nn.Sequential(nn.Flatten(), network.layer), IMAGES, LABELS)
    assert torch.equal(rf.fgsm(lambda x: network(x)[1], IMAGES, LABELS), expected)


@pytest.mark.parametrize(
    ("output", "column"),
    [(torch.sigmoid, "probability"), (functional.logsigmoid, "log-probability"), (lambda z: z, "logit"), (torch.tanh, "logit")],
)
def test_two_columns_have_the_same_largest(output: Callable[[Tensor], Tensor], column: str) -> None:
    logit = torch.linspace(-3, 3, 8).unsqueeze(1)
    columns = two_columns(output(logit), column)  # type: ignore[arg-type]
    assert columns.argmax(1).tolist() == [0] * 4 + [1] * 4
    if column == "log-probability":
        assert torch.allclose(columns.exp().sum(1), torch.ones(8))


ONE_OUTPUT = {
    "sigmoid": (torch.sigmoid, ("probabilities", "bce")),
    "log-sigmoid": (functional.logsigmoid, ("log-probabilities",)),
    "logit": (lambda z: z, ("ce", "logits", "margin", "bce-with-logits")),
    "tanh": (torch.tanh, ("ce",)),
}
BINARY_LABELS = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1])


@pytest.mark.parametrize(("kind", "loss"), [(kind, loss) for kind, (_, losses) in ONE_OUTPUT.items() for loss in losses])
@pytest.mark.parametrize("form", [lambda z: z, lambda z: z[:, 0], lambda z: z.squeeze(), lambda z: {"out": z}])
@pytest.mark.parametrize("n", [9, 1])
def test_one_output(kind: str, loss: str, form: Callable[[Tensor], object], n: int) -> None:
    output: Callable[[Tensor], Tensor] = ONE_OUTPUT[kind][0]
    network = Returns(lambda z: form(output(z)), 1)
    x, y = IMAGES[:n], BINARY_LABELS[:n]

    def logit(images: Tensor) -> Tensor:
        column: Tensor = network.layer(images.flatten(1))[:, 0]
        return column

    expected = by_hand(lambda leaf: functional.binary_cross_entropy_with_logits(logit(leaf), y.float(), reduction="sum"), x)
    assert torch.equal(rf.fgsm(network, x, y, loss=loss), expected)
    assert torch.equal(rf.fgsm(rf.wrap(network, 2), x, y, loss=loss), expected)
    own = (logit(x) > 0).float()
    expected = by_hand(lambda leaf: functional.binary_cross_entropy_with_logits(logit(leaf), own, reduction="sum"), x)
    assert torch.equal(rf.fgsm(network, x, loss=loss), expected)


@pytest.mark.parametrize(
    ("outputs", "kind"),
    [
        (torch.tensor([[0.2, 0.8], [0.6, 0.4]]), "probabilities"),
        (torch.tensor([[0.2, 0.8], [0.6, 0.4]]).log(), "log-probabilities"),
        (torch.tensor([[0.0, 0.8], [0.0, 0.4]]), "one sigmoid"),
        (torch.tensor([[0.2, 0.9], [0.6, 0.7]]), "sigmoids"),
        (torch.tensor([[0.2, 0.9], [0.6, torch.nan]]), "sigmoids"),
        (torch.zeros(3, 4), "logits"),
        (torch.tensor([[0.2, 1.1], [0.6, 0.7]]), "logits"),
        (torch.full((3, 4), torch.nan), "logits"),
        (torch.empty(0, 4), "logits"),
    ],
)
def test_kind_of_outputs(outputs: Tensor, kind: str) -> None:
    assert kind_of_outputs(outputs) == kind


def test_rounded_probabilities() -> None:
    shares = torch.tensor([[0.21, 0.30, 0.49], [0.63, 0.17, 0.2]])
    for dtype in (torch.float16, torch.bfloat16):
        assert kind_of_outputs(shares.to(dtype)) == "probabilities"
        assert kind_of_outputs(shares.to(dtype).float()) == "probabilities"
        assert kind_of_outputs(shares.log().to(dtype).float()) == "log-probabilities"
    assert kind_of_outputs(shares + 1e-3) == "sigmoids"


def test_other_images_tell_logits_from_sigmoids() -> None:
    outputs = torch.tensor([[0.2, 0.9], [0.6, 0.7]])
    assert kind_of_outputs(outputs, lambda: torch.tensor([[0.5, 1.5]])) == "logits"
    assert kind_of_outputs(outputs, lambda: torch.tensor([[0.5, 0.5]])) == "sigmoids"


def test_noise_leaves_the_unit_interval_for_logits_only() -> None:
    layer = nn.Linear(9, 3)
    nn.init.constant_(layer.weight, 1e-3)
    nn.init.constant_(layer.bias, 0.5)
    layer.bias.data[0] = 0.4
    linear = nn.Sequential(nn.Flatten(), layer)
    assert kind_of_outputs(linear(IMAGES)) == "sigmoids"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rf.fgsm(linear, IMAGES[:1], LABELS[:1] % 3)
    outputs = predict_noise(nn.Sequential(linear, nn.Sigmoid()), IMAGES, PIXEL_BOUNDS)
    assert len(outputs) == 36
    assert bool(((outputs >= 0) & (outputs <= 1)).all())


def test_a_network_may_refuse_noise() -> None:
    def strict(x: Tensor) -> Tensor:
        if float(x.max()) > 1:
            raise ModelError("too bright")
        return x.flatten(1)

    assert len(predict_noise(strict, IMAGES, PIXEL_BOUNDS)) == 18


@pytest.mark.parametrize(
    ("last", "num_outputs", "remedy"),
    [(nn.Softmax(1), 5, "probabilities"), (nn.Sigmoid(), 5, "bce"), (nn.Sigmoid(), 1, "probabilities")],
)
def test_fgsm_warns_of_other_outputs_and_the_remedy_works(last: nn.Module, num_outputs: int, remedy: str) -> None:
    network = Returns(last, num_outputs)
    y = LABELS if num_outputs > 1 else BINARY_LABELS
    with pytest.warns(RuntimeWarning, match=f"loss={remedy!r}"):
        rf.fgsm(network, IMAGES, y)
    for loss in (remedy, "logits"):
        assert rf.fgsm(network, IMAGES, y, loss=loss).shape == IMAGES.shape


@pytest.mark.parametrize(("loss", "remedy"), [("probabilities", "ce"), ("log-probabilities", "ce"), ("bce", "bce-with-logits")])
def test_logits_under_another_loss(loss: str, remedy: str) -> None:
    network = Returns(lambda z: z)
    with pytest.raises(ModelError, match=f"got logits: .*loss={remedy!r}"):
        rf.fgsm(network, IMAGES, LABELS, loss=loss)
    assert rf.fgsm(network, IMAGES, LABELS, loss=remedy).shape == IMAGES.shape


@pytest.mark.parametrize(("last", "loss"), [(nn.Sigmoid(), "bce"), (nn.Identity(), "bce-with-logits")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_multi_hot_labels(last: nn.Module, loss: str, dtype: torch.dtype) -> None:
    network = Returns(last)
    y = (torch.rand(9, 5, generator=torch.Generator().manual_seed(2)) > 0.5).to(dtype)
    expected = by_hand(
        lambda leaf: functional.binary_cross_entropy_with_logits(network.layer(leaf.flatten(1)), y.float(), reduction="sum")
    )
    assert torch.equal(rf.fgsm(network, IMAGES, y, loss=loss), expected)
    assert torch.equal(rf.fgsm(rf.wrap(network, 5, task="multilabel"), IMAGES, y), expected)


def test_check_outputs_accepts_declared_logits() -> None:
    assert check_outputs(torch.tensor([[0.2, 0.8], [0.6, 0.4]]), "logits") == []


def test_read_for_loss() -> None:
    classifier, network = rf.wrap(Returns(torch.sigmoid, 1), 2), Returns(lambda z: z)
    read = read_for_loss(classifier, "probabilities")
    assert torch.allclose(read.predict(IMAGES).sum(1), torch.ones(9))
    assert bool((classifier.predict(IMAGES)[:, 0] == 0).all())
    assert read_for_loss(read, "probabilities") is read
    assert read_for_loss(network, "probabilities") is network
    assert read_for_loss(classifier, get_loss("ce")) is classifier


@pytest.mark.parametrize("outputs", [[[0.0, 0.7]], [[0.0, 0.5], [0.0, 0.5]]], ids=["one image", "equal images"])
def test_one_sigmoid_of_equal_outputs_is_known_by_other_images(outputs: list[list[float]]) -> None:
    assert kind_of_outputs(torch.tensor(outputs), lambda: torch.tensor([[0.0, 0.2], [0.0, 0.9]])) == "one sigmoid"
    assert kind_of_outputs(torch.tensor(outputs), lambda: torch.tensor([[0.0, 0.2], [0.0, -3.0]])) == "logits"
    assert kind_of_outputs(torch.tensor(outputs), lambda: torch.tensor(outputs)) == "logits"


@pytest.mark.parametrize(
    "form", [lambda z: z.T, lambda z: z.T.unsqueeze(2), lambda z: {"out": z.T}], ids=["axes", "one more", "dict"]
)
def test_exchanged_axes_are_noticed_where_there_are_as_many_images_as_classes(form: Callable[[Tensor], object]) -> None:
    network, plain = Returns(form), Returns(lambda z: z)
    x, y = IMAGES[:5], LABELS[:5]
    assert rf.fgsm(plain, x, y).shape == x.shape
    with pytest.raises(ModelError, match=r"got .*\(5, 4"):
        rf.fgsm(network, x, y)
