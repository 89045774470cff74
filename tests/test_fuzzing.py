"""Networks and data of every form: the numbers of a plain loop, or one line with exit code 2, and nothing else.

Hypothesis draws cases that are plain but for a few dimensions. The environment's `FUZZ_EXAMPLES` and `FUZZ_SEED` make a longer run.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import robustbench_fgsm as rf

EPSILON = 0.1
MIN_GRADIENT = {"half": 0.05, "bfloat16 network": 0.2}
"""Share of an image's largest gradient below which a sign may be a matter of rounding, by output or conduct; else 0.002."""

SHAPES = {
    "image": (3, 6, 5),
    "grey": (1, 6, 6),
    "two channels": (2, 5, 4),
    "large": (3, 9, 8),
    "table": (7,),
    "signal": (2, 12),
    "volume": (1, 3, 4, 5),
    "no channel axis": (1, 9, 9),
    "channels last": (3, 9, 8),
}
DTYPES = ("float32", "float64", "float16", "bfloat16", "uint8", "int8", "int32", "int64", "uint16", "bool", "complex64")
MEMORY = (
    "contiguous",
    "channels-last",
    "transposed",
    "strided",
    "expanded",
    "requires grad",
    "read-only",
    "reversed",
    "big-endian",
    "sparse",
)
CONTAINERS = (
    "tensors",
    "arrays",
    "mixed",
    "list of labels",
    "DataLoader",
    "shuffled DataLoader",
    "TensorDataset",
    "pairs",
    "dict items",
    "dict",
    "iterator",
    "ArrayDataset",
)
LABELS = (
    "int64",
    "int32",
    "int16",
    "uint8",
    "float",
    "float64",
    "fractions",
    "nan",
    "one-hot",
    "float one-hot",
    "multi-hot",
    "soft",
    "from 1",
    "-1",
    "-100",
    "out of range",
    "huge",
    "digits",
    "names",
    "column",
    "bool",
    "too few",
)
UNUSABLE_OUTPUTS = ("classes", "rounded", "numpy", "none", "text", "scalar", "one row too few", "per pixel")
OUTPUTS = (
    "logits",
    "column",
    "flat",
    "tuple",
    "list",
    "tuple with features",
    "dict",
    "dict of another key",
    "dict with loss",
    "dataclass",
    "squeezed",
    "axes of 1",
    "probabilities",
    "log-probabilities",
    "one sigmoid",
    "flat sigmoid",
    "sigmoids",
    "half",
    "double",
    "nan for some",
    "nan for all",
    "minus infinity",
    *UNUSABLE_OUTPUTS,
)
CONDUCT = (
    "plain",
    "train mode",
    "dropout",
    "in place",
    "no gradient",
    "detached",
    "two inputs",
    "raises",
    "raises later",
    "raises in backward",
    "float64 network",
    "bfloat16 network",
    "casts inside",
    "keeps features",
    "batch norm",
    "integer parameter",
    "frozen",
    "chance",
)
ONE_OUTPUT = ("column", "flat", "one sigmoid", "flat sigmoid")
LOSS = {
    "probabilities": "probabilities",
    "log-probabilities": "log-probabilities",
    "one sigmoid": "probabilities",
    "flat sigmoid": "probabilities",
    "sigmoids": "bce",
}
"""Loss that the documentation names for outputs of a kind."""

NOT_LOGITS = ("probabilities", "sigmoids")
"""Outputs for which `fgsm` warns if no loss is named."""

UNDERSTOOD = {
    "dtype": ("float32", "float64", "float16", "uint8"),
    "memory": ("contiguous", "channels-last", "transposed", "strided", "requires grad"),
    "container": ("tensors", "arrays", "mixed", "DataLoader", "TensorDataset", "pairs", "ArrayDataset"),
    "labels": ("int64", "int32", "uint8", "float", "one-hot", "column"),
    "outputs": ("logits", "column", "flat", "tuple", "dict", "dict with loss", "dataclass", "axes of 1", "half", "double"),
    "conduct": ("plain", "train mode", "dropout", "in place", "float64 network", "casts inside", "keeps features", "batch norm"),
}
"""Forms that `evaluate` may not refuse."""

WITHOUT_ANSWER = {
    "dtype": ("complex64",),
    "labels": ("fractions", "nan", "multi-hot", "soft", "-1", "-100", "out of range", "huge", "too few"),
    "outputs": (*UNUSABLE_OUTPUTS, "nan for some", "nan for all"),
    "conduct": ("no gradient", "detached", "two inputs", "raises", "raises later", "raises in backward", "chance"),
}
"""Forms for which every number without a warning is wrong."""


@dataclass(frozen=True)
class Case:
    """Everything that is drawn; a default is the plain form."""

    shape: str = "image"
    n: int = 24
    num_classes: int = 3
    dtype: str = "float32"
    memory: str = "contiguous"
    container: str = "tensors"
    labels: str = "int64"
    outputs: str = "logits"
    conduct: str = "plain"
    wrapped: bool = False
    named_loss: bool = False
    batch_size: int | str = "auto"
    optimize: str = "none"
    seed: int = 0

    def __str__(self) -> str:
        odd = [f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if getattr(self, one.name) != one.default]
        return f"Case({', '.join(odd)})"

    def has_answer(self) -> bool:
        return not any(getattr(self, name) in forms for name, forms in WITHOUT_ANSWER.items())

    def is_understood(self) -> bool:
        if not all(getattr(self, name) in forms for name, forms in UNDERSTOOD.items()):
            return False
        return not (
            self.shape in ("two channels", "channels last", "no channel axis") or (self.named_loss and self.outputs in LOSS)
        )


FORMS: dict[str, tuple[Any, ...]] = {
    "shape": tuple(SHAPES),
    "n": (1, 2, 3, 5, 9),
    "num_classes": (2, 4, 5, 6),
    "dtype": DTYPES,
    "memory": MEMORY,
    "container": CONTAINERS,
    "labels": LABELS,
    "outputs": OUTPUTS,
    "conduct": CONDUCT,
    "wrapped": (True,),
    "named_loss": (True,),
    "batch_size": (1, 2, 4),
    "optimize": ("safe",),
}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Cases with up to four odd dimensions."""
    odd = draw(st.sets(st.sampled_from(sorted(FORMS)), min_size=1, max_size=4))
    case = Case(seed=draw(st.integers(0, 50)), **{name: draw(st.sampled_from(FORMS[name])) for name in sorted(odd)})
    return replace(case, num_classes=2) if case.outputs in ONE_OUTPUT or case.labels == "bool" else case


@dataclass(frozen=True)
class Object:
    """What a network returns that returns an object."""

    logits: Tensor
    hidden: Tensor


class Network(nn.Module):
    """Two linear layers with tanh between; `logits` gives what the outputs are made of."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        width = int(np.prod(SHAPES[case.shape]))
        self.case = case
        self.first = nn.Linear(width, 12)
        self.last = nn.Linear(12, 1 if case.outputs in ONE_OUTPUT else case.num_classes)
        self.norm = nn.BatchNorm1d(12) if case.conduct == "batch norm" else nn.Identity()
        with torch.no_grad():
            self.first.weight.normal_(0, 1.5 / width**0.5)
            self.last.weight.normal_(0, 1.2)
        if case.conduct == "integer parameter":
            self.order = nn.Parameter(torch.arange(3), requires_grad=False)
        self.features: Tensor | None = None
        self.calls = 0

    def logits(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.norm(self.first(x.flatten(1))).tanh())
        return found


class Forward(Network):
    """The network as a user's code has it."""

    def forward(self, x: Tensor, *others: Tensor) -> Any:
        conduct = self.case.conduct
        self.calls += 1
        if conduct == "raises" or (conduct == "raises later" and self.calls > 4):
            raise [KeyError("weights"), ZeroDivisionError(), AssertionError("odd size"), OSError(2, "no file")][self.case.seed % 4]
        if conduct == "in place":
            x -= 0.5
            x += 0.5
        if conduct == "casts inside":
            return self.as_outputs(copy_as(self, torch.float64).logits(x.double()).float())
        if conduct == "detached":
            x = x.detach()
        with torch.set_grad_enabled(torch.is_grad_enabled() and conduct != "no gradient"):
            z = self.logits(x)
        if conduct == "dropout":
            z = functional.dropout(z, 0.5, self.training)
        if conduct == "chance":
            z = z + 5 * torch.randn_like(z)
        if conduct == "keeps features":
            self.features = z
        if conduct == "raises in backward":
            z = RaisesInBackward.apply(z)
        return self.as_outputs(z)

    def as_outputs(self, z: Tensor) -> Any:
        return OUTPUT_FORMS[self.case.outputs](z)


class TwoInputs(Forward):
    def forward(self, x: Tensor, age: Tensor) -> Any:  # type: ignore[override]
        return super().forward(x) + age


class RaisesInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return z.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise ValueError("no derivative")


def copy_as(network: Network, dtype: torch.dtype) -> Network:
    """Return the network in another precision; its buffers and weights are equal."""
    other = Network(network.case)
    other.load_state_dict(network.state_dict())
    other.to(dtype).eval()
    return other


def rows_of(z: Tensor, value: float, every: int) -> Tensor:
    return z.masked_fill((torch.arange(len(z), device=z.device) % every == 0)[:, None], value)


OUTPUT_FORMS: dict[str, Callable[[Tensor], Any]] = {
    "logits": lambda z: z,
    "column": lambda z: z,
    "flat": lambda z: z[:, 0],
    "tuple": lambda z: (z,),
    "list": lambda z: [z],
    "tuple with features": lambda z: (z, torch.cat([z, z], 1)),
    "dict": lambda z: {"logits": z},
    "dict of another key": lambda z: {"out": z},
    "dict with loss": lambda z: {"loss": z.sum(), "logits": z, "hidden": torch.cat([z, z], 1)},
    "dataclass": lambda z: Object(z, torch.cat([z, z], 1)),
    "squeezed": lambda z: z.squeeze(),
    "axes of 1": lambda z: z[:, :, None, None],
    "probabilities": lambda z: z.softmax(1),
    "log-probabilities": lambda z: z.log_softmax(1),
    "one sigmoid": torch.sigmoid,
    "flat sigmoid": lambda z: z.sigmoid()[:, 0],
    "sigmoids": torch.sigmoid,
    "half": lambda z: z.half(),
    "double": lambda z: z.double(),
    "nan for some": lambda z: rows_of(z, torch.nan, 3),
    "nan for all": lambda z: z * torch.nan,
    "minus infinity": lambda z: torch.cat([z[:, :-1], z[:, -1:] * 0 - torch.inf], 1),
    "classes": lambda z: z.argmax(1),
    "rounded": lambda z: (10 * z).long(),
    "numpy": lambda z: z.detach().numpy(),
    "none": lambda z: None,
    "text": lambda z: "cat",
    "scalar": lambda z: z.sum(),
    "one row too few": lambda z: z[1:],
    "per pixel": lambda z: z[:, :, None, None].expand(-1, -1, 4, 4),
}


def network_of(case: Case) -> Forward:
    torch.manual_seed(case.seed)
    network = (TwoInputs if case.conduct == "two inputs" else Forward)(case)
    if case.conduct == "batch norm":
        network.norm.running_mean.normal_(0, 0.3)  # type: ignore[operator, union-attr]
        network.norm.running_var.uniform_(0.5, 2)  # type: ignore[operator, union-attr]
    if case.conduct == "float64 network":
        network.double()
    if case.conduct == "bfloat16 network":
        network.bfloat16()
    network.requires_grad_(False) if case.conduct == "frozen" else None
    return network.train(case.conduct in ("train mode", "dropout", "batch norm"))


def images_of(case: Case) -> tuple[Any, Tensor]:
    """Return images in the case's dtype and shape, and the images in [0, 1] that they are."""
    generator = torch.Generator().manual_seed(case.seed)
    x = (torch.rand(case.n, *SHAPES[case.shape], generator=generator) * 255).round() / 255
    dtype = getattr(torch, case.dtype)
    if dtype.is_floating_point:
        given = x.to(dtype)
        return given, given.double()
    if dtype == torch.bool:
        return x > 0.5, (x > 0.5).double()
    if dtype == torch.complex64:
        return x.to(dtype), x.double()
    top = {torch.uint8: 255, torch.int8: 127, torch.uint16: 65535}.get(dtype, 255)
    levels = (x.double() * top).round()
    return levels.to(dtype), levels / top


def arrange(case: Case, images: Tensor) -> Tensor:
    """Return equal images in another memory."""
    if case.shape == "no channel axis":
        images = images[:, 0]
    if case.shape == "channels last":
        images = images.movedim(1, -1).contiguous()
    if case.memory == "channels-last" and images.ndim == 4:
        return images.contiguous(memory_format=torch.channels_last)
    if case.memory == "transposed":
        return images.transpose(0, -1).contiguous().transpose(0, -1)
    if case.memory == "strided":
        return torch.stack([images, images], 1)[:, 0]
    if case.memory == "expanded":
        return images
    if case.memory == "sparse" and case.container in ("tensors", "mixed", "pairs", "ArrayDataset") and images.is_floating_point():
        return images.to_sparse()
    if case.memory == "requires grad" and images.is_floating_point():
        return images.clone().requires_grad_()
    return images


def as_array(case: Case, images: Tensor) -> Any:
    plain = images.detach()
    array = plain.float().numpy() if plain.dtype == torch.bfloat16 else plain.numpy()
    if case.memory == "read-only":
        array = array.copy()
        array.flags.writeable = False
    if case.memory == "reversed":
        array = array[::-1].copy()[::-1]
    if case.memory == "big-endian":
        array = array.astype(array.dtype.newbyteorder(">"))
    return array


def true_labels(case: Case) -> Tensor:
    """Return the network's own predictions for two thirds of the images, and the next class for the others."""
    network = copy_as(network_of(case), torch.float64)
    z, k = network.logits(images_of(case)[1]), case.num_classes
    if case.outputs == "minus infinity":  # the network rules its last class out
        z, k = z[:, :-1], k - 1
    y = predicted(z)
    return torch.where(torch.arange(case.n) % 3 == 2, (y + 1) % k, y)


def labels_of(case: Case, y: Tensor) -> tuple[Any, Tensor]:
    """Return labels in the case's form, and the classes that they are."""
    k, form = case.num_classes, case.labels
    one_hot = functional.one_hot(y, k)
    some = torch.arange(len(y)) % 3 == 0
    forms: dict[str, Callable[[], Any]] = {
        "int64": lambda: y,
        "int32": y.int,
        "int16": y.short,
        "uint8": y.byte,
        "float": y.float,
        "float64": y.double,
        "fractions": lambda: y + 0.5,
        "nan": lambda: torch.where(some, torch.nan, y.float()),
        "one-hot": lambda: one_hot,
        "float one-hot": one_hot.float,
        "multi-hot": lambda: one_hot | functional.one_hot((y + 1) % k, k),
        "soft": lambda: 0.7 * one_hot + 0.3 / k,
        "from 1": lambda: y + 1,
        "-1": lambda: y.where(~some, -1),
        "-100": lambda: y.where(~some, -100),
        "out of range": lambda: y.where(~some, k + 3),
        "huge": lambda: y.where(~some, 2**62),
        "digits": lambda: y.numpy().astype(str),
        "names": lambda: np.array(["ant", "bee", "cat", "dog", "eel", "fox"])[y.numpy()],
        "column": lambda: y[:, None],
        "bool": y.bool,
        "too few": lambda: y[1:],
    }
    return forms[form](), y + 1 if form == "from 1" else y


class Pairs(torch.utils.data.Dataset[Any]):
    """A torch data set of pairs or of dicts."""

    def __init__(self, images: Any, labels: Any, as_dict: bool) -> None:
        self.images, self.labels, self.as_dict = images, labels, as_dict

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        if index >= len(self):
            raise IndexError(index)
        image, label = self.images[index], self.labels[index]
        return {"image": image, "label": label} if self.as_dict else (image, label)


def data_of(case: Case, images: Any, labels: Any) -> Any:
    tensor_labels = labels if isinstance(labels, np.ndarray | list) else torch.as_tensor(labels)
    container = case.container
    if container == "tensors" and case.memory in ("read-only", "reversed", "big-endian"):
        container = "arrays"
    if container == "arrays":
        return as_array(case, images), labels.numpy() if isinstance(labels, Tensor) else labels
    if container == "mixed":
        return images, labels.numpy() if isinstance(labels, Tensor) else labels
    if container == "list of labels":
        return images, labels if isinstance(labels, list) else labels.tolist()
    if container in ("DataLoader", "shuffled DataLoader"):
        return DataLoader(Pairs(images, labels, as_dict=False), batch_size=4, shuffle=container != "DataLoader")
    if container == "TensorDataset" and isinstance(tensor_labels, Tensor) and len(images) == len(tensor_labels):
        return TensorDataset(images, tensor_labels)
    if container in ("pairs", "dict items"):
        return Pairs(images, labels, as_dict=container == "dict items")
    if container == "dict":
        return {"images": images, "labels": labels}
    if container == "iterator":
        return iter([(images[i], labels[i]) for i in range(min(len(images), len(labels)))])
    if container == "ArrayDataset":
        return rf.ArrayDataset("fuzzed", images, labels, [str(i) for i in range(case.num_classes)])
    return images, labels


def predicted(z: Tensor) -> Tensor:
    return (z[:, 0] > 0).long() if z.shape[1] == 1 else z.argmax(1)


@dataclass(frozen=True)
class Answer:
    """The plain loop's images, the pixels whose sign is sure, and which images are right before and after, and surely so."""

    images: Tensor
    sure_pixels: Tensor
    right_before: Tensor
    right_after: Tensor
    sure_before: Tensor
    sure_after: Tensor


def plain_loop(case: Case, x: Tensor, y: Tensor) -> Answer:
    """Attack in float64: the gradient of the network's own loss, its sign, a step, and the bounds."""
    own = network_of(case)
    network = copy_as(own, torch.float64)
    leaf = x.double().clone().requires_grad_()
    z = network.logits(leaf)
    if case.outputs == "minus infinity":
        z = z[:, :-1]
    if case.outputs in ONE_OUTPUT:
        loss = functional.binary_cross_entropy_with_logits(z[:, 0], y.double(), reduction="sum")
    elif case.outputs == "sigmoids":
        loss = functional.binary_cross_entropy_with_logits(z, functional.one_hot(y, z.shape[1]).double(), reduction="sum")
    else:
        loss = functional.cross_entropy(z, y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf)
    adversarial = (leaf + EPSILON * gradient.sign()).clamp(0, 1).detach()
    size = gradient.abs().flatten(1)
    share = max(MIN_GRADIENT.get(case.outputs, 0.002), MIN_GRADIENT.get(case.conduct, 0.002))
    cancelled = 1e-5 / (1 - probability_of(z, y)).clamp_min(1e-5)  # float32 rounds 1 - p
    sure = (size > cancelled[:, None].clamp_min(share) * size.amax(1, keepdim=True)).reshape(gradient.shape)
    margin = 0.2 if case.conduct == "bfloat16 network" else 0.02
    before, after = z.detach(), network.logits(adversarial).detach()
    if case.outputs == "minus infinity":
        after = after[:, :-1]
    return Answer(
        adversarial,
        sure,
        predicted(before) == y,
        predicted(after) == y,
        margins(before) > margin,
        (margins(after) > margin) & sure.flatten(1).all(1),
    )


def probability_of(z: Tensor, y: Tensor) -> Tensor:
    """Return the probability of each image's label."""
    if z.shape[1] == 1:
        return torch.where(y == 1, z[:, 0], -z[:, 0]).sigmoid().detach()
    return z.softmax(1).gather(1, y[:, None])[:, 0].detach()


def margins(z: Tensor) -> Tensor:
    if z.shape[1] == 1:
        return z[:, 0].abs()
    top = z.topk(2, 1).values
    return top[:, 0] - top[:, 1]


def is_count(count: int, right: Tensor, sure: Tensor) -> bool:
    """Return True if the count is possible, with any answer for the images that are not sure."""
    return int((right & sure).sum()) <= count <= int((right | ~sure).sum())


def run(function: Callable[[], Any]) -> tuple[Any, bool]:
    """Return a result, or the one line that is raised, and whether there was a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = function()
        except rf.RfgsmError as error:
            found = error
    if isinstance(found, rf.RfgsmError):
        assert found.exit_code == 2, f"exit code {found.exit_code}: {found}"
        assert "\n" not in str(found)
    return found, any(issubclass(one.category, RuntimeWarning) for one in caught)


def loss_of(case: Case) -> str:
    return LOSS.get(case.outputs, "ce") if case.named_loss else "ce"


def model_of(case: Case) -> Any:
    network = network_of(case)
    return rf.wrap(network, case.num_classes) if case.wrapped else network


def is_covered(case: Case) -> bool:
    """Return False for cases that say something else than they were drawn for."""
    if case.outputs == "minus infinity" and case.num_classes < 3:
        return False
    return not (case.conduct == "two inputs" and case.outputs not in ("logits", "column"))


def check_evaluate(case: Case) -> None:
    """Assert that `evaluate` gives the counts of the plain loop, or one line."""
    given, x = images_of(case)
    y = true_labels(case)
    labels, meant = labels_of(case, y)
    options: dict[str, Any] = {"loss": loss_of(case), "batch_size": case.batch_size, "optimize": case.optimize}
    found, _ = run(lambda: rf.evaluate(model_of(case), data_of(case, arrange(case, given), labels), EPSILON, **options))
    valid = case.labels != "from 1" or int(meant.max()) < case.num_classes
    if isinstance(found, rf.RfgsmError):
        assert not case.is_understood(), f"refused: {found}"
        return
    if found.invalid_reasons:
        assert not case.is_understood(), found.invalid_reasons
        return
    if case.conduct == "chance":
        assert found.warnings
        return
    assert case.named_loss or case.outputs not in LOSS or case.outputs == "log-probabilities", (
        "a number for outputs of another kind"
    )
    counts = found.clean_accuracy.count, found.tallies[0].robust_accuracy.count
    assert case.has_answer(), f"a number without an answer: {counts} of {found.n}"
    assert valid, "labels from 1"
    answer = plain_loop(case, x, meant)
    assert found.n == case.n
    possible = is_count(counts[0], answer.right_before, answer.sure_before) and is_count(
        counts[1], answer.right_after, answer.sure_after
    )
    assert possible, f"{counts}, expected {int(answer.right_before.sum())} {int(answer.right_after.sum())}; {found.warnings}"


def check_fgsm(case: Case) -> None:
    """Assert that `fgsm` gives the images of the plain loop, or one line."""
    if case.shape in ("channels last", "no channel axis"):
        return
    given, x = images_of(case)
    y = true_labels(case)
    labels, meant = labels_of(case, y)
    images = arrange(case, given)
    in_arrays = case.container in ("arrays", "dict") or case.memory in ("read-only", "reversed", "big-endian")
    passed = as_array(case, images) if in_arrays else images
    before = images.detach().to_dense().clone()
    found, warned = run(lambda: rf.fgsm(model_of(case), passed, labels, EPSILON, loss=loss_of(case)))
    assert torch.equal(before, images.detach().to_dense()), "the images were changed"
    if isinstance(found, rf.RfgsmError):
        plain = replace(case, container="tensors")
        assert not (plain.is_understood() and case.dtype == "float32" and case.labels == "int64"), f"refused: {found}"
        return
    if case.outputs in NOT_LOGITS and not case.named_loss:
        assert warned, "outputs of another kind, and no warning"
        return
    if case.outputs.startswith("nan"):
        assert warned, "outputs that are not finite, and no warning"
        return
    assert case.has_answer() or case.conduct in ("chance", "raises later"), "images without an answer"
    if not case.has_answer():
        return
    assert case.labels != "from 1" or int(meant.max()) < case.num_classes, "labels from 1"
    answer = plain_loop(case, x, meant)
    difference = (torch.as_tensor(found).detach().double() - answer.images).abs()
    tolerance = 5e-3 if case.dtype in ("float16", "bfloat16") else 1e-5
    assert found.shape == answer.images.shape
    wrong = (difference > tolerance) & answer.sure_pixels
    assert not bool(wrong.any()), f"{int(wrong.sum())} of {wrong.numel()} pixels are wrong"


fuzzed = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "250")),
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
seeded = seed(int(os.environ.get("FUZZ_SEED", "0")))


@pytest.fixture(autouse=True)
def quiet_machine(one_thread: None) -> None:
    """Each call is small."""


@seeded
@fuzzed
@given(case=cases())
def test_evaluate(case: Case) -> None:
    if is_covered(case):
        check_evaluate(case)


@seeded
@fuzzed
@given(case=cases())
def test_fgsm(case: Case) -> None:
    if is_covered(case):
        check_fgsm(case)


SINGLE = [replace(Case(), **{name: form}) for name, forms in FORMS.items() for form in forms]


@pytest.mark.parametrize("case", SINGLE, ids=str)
@pytest.mark.parametrize("check", [check_evaluate, check_fgsm])
def test_each_form_alone(check: Callable[[Case], None], case: Case) -> None:
    fitting = replace(case, num_classes=2) if case.outputs in ONE_OUTPUT or case.labels == "bool" else case
    if is_covered(fitting):
        check(fitting)


ROW_LABELS = ("int64", "uint8", "float", "float64", "bool", "lists", "text", "soft", "signed", "nan", "classes", "255")
ROWS_WITHOUT_ANSWER = ("soft", "signed", "nan", "classes", "255")
MULTI_LABEL_FORMS = FORMS | {
    "labels": ROW_LABELS,
    "outputs": (
        "logits",
        "sigmoids",
        "tuple",
        "dict with loss",
        "dataclass",
        "axes of 1",
        "half",
        "double",
        "nan for some",
        "per pixel",
    ),
    "conduct": tuple(form for form in CONDUCT if form != "two inputs"),
    "wrapped": (True,),
    "named_loss": (True,),
}


@st.composite
def multi_label_cases(draw: st.DrawFn) -> Case:
    """Cases with up to four odd dimensions, of networks with several labels for each image."""
    odd = draw(st.sets(st.sampled_from(sorted(MULTI_LABEL_FORMS)), min_size=1, max_size=4))
    drawn = {name: draw(st.sampled_from(MULTI_LABEL_FORMS[name])) for name in sorted(odd)}
    return Case(seed=draw(st.integers(0, 50)), **drawn)


def true_rows(case: Case) -> Tensor:
    """Return the labels (N, K) that the network predicts, of which every fifth is the other one."""
    z = copy_as(network_of(case), torch.float64).logits(images_of(case)[1])
    other = torch.arange(z.numel()).reshape(z.shape) % 5 == 2
    return ((z > 0) ^ other).long()


def rows_in_form(form: str, rows: Tensor) -> Any:
    forms: dict[str, Callable[[], Any]] = {
        "int64": lambda: rows,
        "uint8": rows.byte,
        "float": rows.float,
        "float64": rows.double,
        "bool": rows.bool,
        "lists": rows.tolist,
        "text": lambda: rows.numpy().astype(str),
        "soft": lambda: 0.8 * rows + 0.1,
        "signed": lambda: 2 * rows - 1,
        "nan": lambda: rows.float().masked_fill(torch.arange(len(rows))[:, None] % 3 == 0, torch.nan),
        "classes": lambda: rows.argmax(1),
        "255": lambda: 255 * rows.index_fill(0, torch.tensor([0]), 1),
    }
    return forms[form]()


def check_multi_label(case: Case) -> None:
    """Assert that `evaluate` of a multi-label network gives the counts of a plain loop, label by label, or one line."""
    given, x = images_of(case)
    rows = true_rows(case)
    images, labels = arrange(case, given), rows_in_form(case.labels, rows)
    loss = ("bce" if case.outputs == "sigmoids" else "bce-with-logits") if case.named_loss else "ce"
    options: dict[str, Any] = {"loss": loss, "batch_size": case.batch_size, "optimize": case.optimize}

    def evaluate() -> rf.Evaluation:
        model = rf.wrap(network_of(case), case.num_classes, task="multilabel")
        names = [str(i) for i in range(case.num_classes)]
        if case.container == "ArrayDataset":
            return rf.evaluate(model, rf.ArrayDataset("fuzzed", images, labels, names, task="multilabel"), EPSILON, **options)
        return rf.evaluate(model, data_of(case, images, labels), EPSILON, **options)

    found, _ = run(evaluate)
    understood = replace(case, labels="int64", outputs="logits" if case.outputs == "sigmoids" else case.outputs).is_understood()
    if isinstance(found, rf.RfgsmError) or found.invalid_reasons:
        reason = found if isinstance(found, rf.RfgsmError) else found.invalid_reasons
        assert not understood or case.labels in (*ROWS_WITHOUT_ANSWER, "lists", "text"), f"refused: {reason}"
        return
    if case.conduct == "chance":
        assert found.warnings
        return
    assert replace(case, labels="int64").has_answer(), "a number without an answer"
    assert case.labels not in ROWS_WITHOUT_ANSWER, "a number of labels that are none"
    network, leaf = copy_as(network_of(case), torch.float64), x.double().clone().requires_grad_()
    z = network.logits(leaf)
    (gradient,) = torch.autograd.grad(functional.binary_cross_entropy_with_logits(z, rows.double(), reduction="sum"), leaf)
    adversarial = (leaf + EPSILON * gradient.sign()).clamp(0, 1).detach()
    size = gradient.abs().flatten(1)
    share = max(MIN_GRADIENT.get(case.outputs, 0.002), MIN_GRADIENT.get(case.conduct, 0.002))
    farthest = (z.sigmoid() - rows).abs().amax(1).detach()  # float32 rounds p - y, and 1 - p in the logarithm of a sigmoid
    cancelled = 1e-5 / farthest.clamp_min(1e-5) + (1e-6 / (1 - farthest).clamp_min(1e-6) if case.outputs == "sigmoids" else 0)
    sure_images = (size > cancelled[:, None].clamp_min(share) * size.amax(1, keepdim=True)).all(1)
    margin = 0.2 if case.conduct == "bfloat16 network" else 0.02
    before, after = z.detach(), network.logits(adversarial).detach()
    rates = found.tallies[0].label_rates
    assert rates is not None
    sides = [(before, before.abs() > margin, rates.clean_accuracy.count, found.clean_accuracy.count)]
    sure = (after.abs() > margin) & sure_images[:, None]
    sides.append((after, sure, rates.robust_accuracy.count, found.tallies[0].robust_accuracy.count))
    for outputs, known, labels, images in sides:
        right = (outputs > 0) == rows
        assert is_count(labels, right, known), f"{labels} labels, expected {int(right.sum())}"
        lower, upper = (right & known).all(1).sum(), (right | ~known).all(1).sum()
        assert lower <= images <= upper, f"{images} images, expected {int(right.all(1).sum())}"


@seeded
@fuzzed
@given(case=multi_label_cases())
def test_multi_label(case: Case) -> None:
    check_multi_label(case)


MULTI_LABEL_SINGLE = [replace(Case(), **{name: form}) for name, forms in MULTI_LABEL_FORMS.items() for form in forms]


@pytest.mark.parametrize("case", MULTI_LABEL_SINGLE, ids=str)
def test_each_multi_label_form_alone(case: Case) -> None:
    check_multi_label(case)
