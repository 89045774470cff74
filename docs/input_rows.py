"""Write the tables of docs/reference/inputs.md: what networks return and what data look like, given to five functions.

python docs/input_rows.py [COLUMN ...]

Each row is one input. The right answer is that of a plain loop over the network's logits and the images in [0, 1]. Without names,
all columns run; a column that does not run keeps its cells. A test runs the rows again and compares them.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import robustbench_fgsm as rf

PAGE = Path(__file__).parent / "reference/inputs.md"
EVALUATE, FGSM = "rf.evaluate(network, (x, y))", "rf.fgsm(network, x, y)"
OURS = {"`rf.evaluate`": EVALUATE, "`rf.fgsm`": FGSM}
"""Columns of our functions, and their calls."""

LIBRARIES = {"ART": "adversarial-robustness-toolbox", "Foolbox": "foolbox", "torchattacks": "torchattacks"}
"""Columns of other libraries, and the names that pip knows."""

EPSILON, NUM_CLASSES, SIZE = 8 / 255, 10, 8
MAX_OTHER_PIXELS = 0.01
"""Share of the pixels that may differ: the sign of a gradient near 0 is a matter of rounding."""

LAST_WEIGHT_SCALE = 50.0
"""Factor of the last layer, so that largest probabilities lie between 0.3 and 0.9: a second softmax then changes gradients."""

MEAN, STD = (torch.tensor(values).reshape(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Output:
    """What a network returns that returns an object."""

    logits: Tensor
    features: Tensor


class Network(nn.Module):
    """Small network, whose logits (N, K) go through a last function; `logits` gives them as they are."""

    def __init__(
        self, last: Callable[[Tensor], Any] | None = None, num_logits: int = NUM_CLASSES, shape: Sequence[int] = (3, SIZE, SIZE)
    ) -> None:
        super().__init__()
        convolution = {2: nn.Conv1d, 3: nn.Conv2d, 4: nn.Conv3d}.get(len(shape))
        first = convolution(shape[0], 4, 3, padding=1) if convolution else nn.Identity()
        width = first(torch.zeros(1, *shape)).numel()
        self.body = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(width, 32), nn.Tanh(), nn.Linear(32, num_logits))
        with torch.no_grad():
            self.body[-1].weight.mul_(LAST_WEIGHT_SCALE)
        self.last = last
        self.num_classes = max(2, num_logits)

    def logits(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> Any:
        return self.logits(x) if self.last is None else self.last(self.logits(x))


class Dropout(Network):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(self.body(x), 0.5, self.training)


class InPlace(Network):
    def forward(self, x: Tensor) -> Tensor:
        x *= 1
        return self.body(x)


class WithoutGradient(Network):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.body(x)


class TwoInputs(Network):
    def forward(self, x: Tensor, age: Tensor) -> Tensor:
        return self.body(x) + age  # the same number for each class


class Raises(Network):
    def forward(self, x: Tensor) -> Tensor:
        return {"logits": self.body(x)}["output"]


class Double(Network):
    def logits(self, x: Tensor) -> Tensor:
        return self.body(x.double()).float()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class TakesNormalised(Network):
    def logits(self, x: Tensor) -> Tensor:
        return self.body((x - MEAN) / STD)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def one_hot(y: Tensor) -> Tensor:
    return functional.one_hot(y, NUM_CLASSES)


def two_classes_each(y: Tensor) -> Tensor:
    """Return labels (N, K) with the class y and the next one."""
    return one_hot(y) | one_hot((y + 1) % NUM_CLASSES)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(logits, y, reduction="sum")


def binary(logits: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits[:, 0], y.float(), reduction="sum")


def class_by_class(logits: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, one_hot(y).float(), reduction="sum")


def several_classes(logits: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, two_classes_each(y).float(), reduction="sum")


def predicted(logits: Tensor) -> Tensor:
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def nan_for_some(logits: Tensor) -> Tensor:
    return logits.index_fill(0, torch.arange(0, len(logits), 4), torch.nan)


@dataclass(frozen=True)
class Row:
    """One input.

    Args:
        words: the input, as the table shows it.
        network: makes the network.
        given: what is passed, from the true images within the bounds and the true labels.
        loss: the network's own loss of logits and labels, summed.
        answer: False if no answer is right.
        shape: shape of an image.
        n: number of images.
        bounds: range of the images.
        levels: steps between the different pixels of the images.
        remedies: code that does what our line says, by call.
    """

    words: str
    network: Callable[[], Network] = Network
    given: Callable[[Tensor, Tensor], tuple[Any, Any]] = lambda x, y: (x, y)
    loss: Loss = cross_entropy
    answer: bool = True
    shape: tuple[int, ...] = (3, SIZE, SIZE)
    n: int = 16
    bounds: tuple[float, float] = (0.0, 1.0)
    levels: int = 255
    remedies: dict[str, str] = field(default_factory=dict)

    def build(self) -> Problem:
        torch.manual_seed(0)
        network = self.network().eval()
        low, high = self.bounds
        x = low + (torch.rand(self.n, *self.shape) * self.levels).round() / self.levels * (high - low)
        y = predicted(network.logits(x))
        if self.n > 1:  # some images are wrong before the attack, and the first and the last class occur
            y[3::4] = (y[3::4] + 1) % network.num_classes
            y[0], y[1] = 0, network.num_classes - 1
        network.train(isinstance(network, Dropout))
        return Problem(self, network, x, y, *self.given(x.clone(), y.clone()))


@dataclass(frozen=True)
class Problem:
    """A row's network, its true images and labels, and what is passed in their place."""

    row: Row
    network: Network
    x: Tensor
    y: Tensor
    given_x: Any
    given_y: Any

    def right_images(self) -> Tensor:
        """Return the images of a plain loop."""
        self.network.eval()
        leaf = self.x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self.row.loss(self.network.logits(leaf), self.y), leaf)
        return (leaf + EPSILON * gradient.sign()).clamp(*self.row.bounds).detach()

    def count(self, x: Tensor, rows: Tensor) -> int:
        """Return the number of right predictions, of single labels if images have several."""
        with torch.no_grad():
            if self.row.loss is several_classes:
                return int(((self.network.logits(x) > 0) == two_classes_each(self.y)).sum())
            return int((predicted(self.network.logits(x)) == self.y)[rows].sum())

    def run(self, code: str) -> Any:
        """Return the value of code that ends in an expression; statements before it are set apart by semicolons."""
        names = {"rf": rf, "torch": torch, "functools": functools, "network": self.network, "x": self.given_x, "y": self.given_y}
        names |= {"pixels": self.x, "mean": MEAN.flatten().tolist(), "std": STD.flatten().tolist()}
        *statements, expression = code.split("; ")
        exec("\n".join(statements), names)  # noqa: S102  (the code is ours)
        return eval(expression, names)  # noqa: S307

    def is_right(self, answer: Any) -> bool:
        """Return True if images are those of the plain loop, or if counts are its counts."""
        right = self.right_images()
        if isinstance(answer, rf.Evaluation):
            rows = torch.ones(len(right), dtype=torch.bool) if answer.n == len(right) else torch.as_tensor(self.given_y) >= 0
            counts = answer.clean_accuracy.count, answer.tallies[0].robust_accuracy.count
            if (labels := answer.tallies[0].label_rates) is not None:
                counts = labels.clean_accuracy.count, labels.robust_accuracy.count
            return answer.n == int(rows.sum()) and counts == (self.count(self.x, rows), self.count(right, rows))
        if len(answer) != len(right):
            right = right[torch.as_tensor(self.given_y) >= 0]
        return answer.shape == right.shape and float(((answer - right).abs() > 1e-3).double().mean()) <= MAX_OTHER_PIXELS


def with_loss(loss: str) -> dict[str, str]:
    """Return both calls with a loss."""
    return {call: f"{call[:-1]}, loss={loss!r})" for call in (EVALUATE, FGSM)}


def with_images(images: str) -> dict[str, str]:
    """Return both calls with other images."""
    return {EVALUATE: f"rf.evaluate(network, ({images}, y))", FGSM: f"rf.fgsm(network, {images}, y)"}


MULTI_LABEL = "rf.evaluate(rf.wrap(network, 10, task='multilabel'), (x, y))"

NETWORKS = (
    Row("logits (N, K)"),
    Row("tuple (logits, features)", lambda: Network(lambda z: (z, torch.cat([z, z], 1)))),
    Row("dict with `loss` and `logits`", lambda: Network(lambda z: {"loss": z.sum(), "logits": z})),
    Row("dict with one tensor, `out`", lambda: Network(lambda z: {"out": z})),
    Row("object with `.logits`", lambda: Network(lambda z: Output(z, z[:, :3]))),
    Row("logits (N, K, 1, 1)", lambda: Network(lambda z: z[:, :, None, None])),
    Row("squeezed logits (K,), one image", lambda: Network(lambda z: z.squeeze()), n=1),
    Row("float64 network", lambda: Double().double()),
    Row("float16 outputs", lambda: Network(lambda z: z.half())),
    Row(
        "a sigmoid for each of several labels",
        lambda: Network(torch.sigmoid),
        lambda x, y: (x, two_classes_each(y)),
        loss=several_classes,
        remedies={EVALUATE: MULTI_LABEL, FGSM: with_loss("bce")[FGSM]},
    ),
    Row("log-probabilities", lambda: Network(lambda z: z.log_softmax(1))),
    Row("probabilities (softmax)", lambda: Network(lambda z: z.softmax(1)), remedies=with_loss("probabilities")),
    Row("one logit (N, 1)", lambda: Network(None, 1), loss=binary),
    Row("one logit (N,)", lambda: Network(lambda z: z[:, 0], 1), loss=binary),
    Row("one sigmoid (N, 1)", lambda: Network(torch.sigmoid, 1), loss=binary, remedies=with_loss("probabilities")),
    Row("one sigmoid (N,)", lambda: Network(lambda z: z[:, 0].sigmoid(), 1), loss=binary, remedies=with_loss("probabilities")),
    Row("K sigmoids", lambda: Network(torch.sigmoid), loss=class_by_class, remedies=with_loss("bce")),
    Row("classes (argmax)", lambda: Network(lambda z: z.argmax(1)), answer=False),
    Row("NaN for some images", lambda: Network(nan_for_some), answer=False),
    Row("no gradient (`no_grad` inside)", WithoutGradient, answer=False),
    Row("train mode, with dropout", Dropout),
    Row("changes its input in place", InPlace),
    Row(
        "takes a second input",
        TwoInputs,
        remedies={
            EVALUATE: f"network.forward = functools.partial(network.forward, age=torch.tensor(30.0)); {EVALUATE}",
            FGSM: "rf.fgsm(lambda x: network(x, torch.tensor(30.0)), x, y)",
        },
    ),
    Row("raises a KeyError", Raises, answer=False),
)
DATA = (
    Row("uint8 (N, C, H, W)", given=lambda x, y: ((x * 255).byte(), y), remedies=with_images("x / 255")),
    Row(
        "uint8 (N, H, W, C), NumPy",
        given=lambda x, y: ((x * 255).byte().permute(0, 2, 3, 1).numpy(), y),
        remedies={FGSM: "rf.fgsm(network, (x / 255).transpose(0, 3, 1, 2), y)"},
    ),
    Row("0 to 255 in float32", given=lambda x, y: (x * 255, y), remedies=with_images("x / 255")),
    Row("0 to 255 in int64", given=lambda x, y: ((x * 255).round().long(), y), remedies=with_images("x / 255")),
    Row(
        "0 to 65535 in uint16, NumPy",
        given=lambda x, y: ((x * 65535).round().numpy().astype(np.uint16), y.numpy()),
        remedies=with_images("(x / 65535).astype('float32')"),
    ),
    Row("0 and 1 as booleans", given=lambda x, y: (x.bool(), y), levels=1, remedies=with_images("x.float()")),
    Row("float16", given=lambda x, y: (x.half(), y)),
    Row("float64", given=lambda x, y: (x.double(), y)),
    Row(
        "normalised by ImageNet's mean and std",
        TakesNormalised,
        lambda x, y: ((x - MEAN) / STD, y),
        remedies={
            EVALUATE: "rf.evaluate(rf.wrap(network, 10, mean=mean, std=std), (pixels, y))",
            FGSM: "rf.fgsm(rf.wrap(network, 10, mean=mean, std=std), pixels, y)",
        },
    ),
    Row("channels-last memory", given=lambda x, y: (x.contiguous(memory_format=torch.channels_last), y)),
    Row(
        "grey images (N, H, W)",
        lambda: Network(shape=(1, SIZE, SIZE)),
        lambda x, y: (x[:, 0], y),
        shape=(1, SIZE, SIZE),
        remedies={FGSM: "rf.fgsm(network, x.unsqueeze(1), y)"},
    ),
    Row("table (N, F) in [0, 1]", lambda: Network(shape=(30,)), shape=(30,)),
    Row(
        "table (N, F) in [-10, 10]",
        lambda: Network(shape=(30,)),
        shape=(30,),
        bounds=(-10.0, 10.0),
        remedies={
            EVALUATE: "rf.evaluate(rf.wrap(network, 10, bounds=(-10, 10)), (x, y))",
            FGSM: "rf.fgsm(network, x, y, bounds=(-10, 10))",
        },
    ),
    Row("signals (N, C, L)", lambda: Network(shape=(3, 40)), shape=(3, 40)),
    Row("volumes (N, C, D, H, W)", lambda: Network(shape=(1, 4, 8, 8)), shape=(1, 4, 8, 8)),
    Row("labels int32", given=lambda x, y: (x, y.int())),
    Row("labels uint8", given=lambda x, y: (x, y.byte())),
    Row(
        "labels 3.0 (float32)", given=lambda x, y: (x, y.float()), remedies={FGSM: "rf.fgsm(network, x, torch.as_tensor(y).long())"}
    ),
    Row("labels (N, 1)", given=lambda x, y: (x, y[:, None]), remedies={FGSM: "rf.fgsm(network, x, y[:, 0])"}),
    Row("labels one-hot (N, K)", given=lambda x, y: (x, one_hot(y)), remedies={FGSM: "rf.fgsm(network, x, y.argmax(1))"}),
    Row(
        "labels as text, NumPy",
        given=lambda x, y: (x.numpy(), y.numpy().astype(str)),
        remedies={FGSM: "rf.fgsm(network, x, y.astype(int))"},
    ),
    Row("labels 3.5", given=lambda x, y: (x, y + 0.5), answer=False),
    Row(
        "labels from 1 to K",
        given=lambda x, y: (x, y + 1),
        remedies={EVALUATE: "rf.evaluate(network, rf.load_data((x, y), labels_from=1))", FGSM: "rf.fgsm(network, x, y - 1)"},
    ),
    *(
        Row(
            f"label {number} for some images",
            given=lambda x, y, number=number: (x, y.where(y != y[0], number)),
            answer=False,
            remedies={EVALUATE: "rf.evaluate(network, (x[y >= 0], y[y >= 0]))", FGSM: "rf.fgsm(network, x[y >= 0], y[y >= 0])"},
        )
        for number in (-1, -100)
    ),
    Row(
        "several classes an image (N, K)",
        given=lambda x, y: (x, two_classes_each(y)),
        loss=several_classes,
        remedies={EVALUATE: MULTI_LABEL, FGSM: with_loss("bce-with-logits")[FGSM]},
    ),
)


def run_art(problem: Problem) -> Tensor:
    from art.attacks.evasion import FastGradientMethod
    from art.estimators.classification import PyTorchClassifier

    estimator = PyTorchClassifier(
        problem.network,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(problem.given_x.shape[1:]),
        nb_classes=problem.network.num_classes,
        clip_values=(0, 1),
        device_type="cpu",
    )
    attack = FastGradientMethod(estimator, eps=EPSILON)
    return torch.as_tensor(attack.generate(np.asarray(problem.given_x), np.asarray(problem.given_y)))


def run_foolbox(problem: Problem) -> Tensor:
    import foolbox

    model = foolbox.PyTorchModel(problem.network, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfFastGradientAttack()
    return attack(model, to_tensor(problem.given_x), to_tensor(problem.given_y), epsilons=EPSILON)[1]


def run_torchattacks(problem: Problem) -> Tensor:
    import torchattacks

    return torchattacks.FGSM(problem.network, eps=EPSILON)(to_tensor(problem.given_x), to_tensor(problem.given_y))


RUN: dict[str, Callable[[Problem], Any]] = {
    **{column: functools.partial(lambda call, problem: problem.run(call), call) for column, call in OURS.items()},
    "ART": run_art,
    "Foolbox": run_foolbox,
    "torchattacks": run_torchattacks,
}


def to_tensor(values: Any) -> Any:
    """Return an array of numbers as a tensor."""
    return torch.from_numpy(values) if isinstance(values, np.ndarray) and values.dtype.kind != "U" else values


def installed_version(column: str) -> str:
    """Return the version of a column's library; empty if it is not installed, or is this package."""
    try:
        return version(LIBRARIES[column]) if column in LIBRARIES else ""
    except PackageNotFoundError:
        return ""


class WarningCounter(logging.Handler):
    """Handler that counts the warnings of a log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        self.count += 1


def verdict(row: Row, column: str) -> tuple[str, str]:
    """Return a cell of the table, and the line that our function says there, or an empty text."""
    problem, log = row.build(), WarningCounter()
    logging.getLogger().addHandler(log)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            answer = RUN[column](problem)
    except rf.RfgsmError as error:
        return "one line", str(error)
    except Exception as error:  # noqa: BLE001  (a library raises what it likes)
        return f"raises {type(error).__name__}", ""
    finally:
        logging.getLogger().removeHandler(log)
    texts = [str(one.message) for one in caught if issubclass(one.category, (UserWarning, RuntimeWarning))]
    if isinstance(answer, rf.Evaluation) and answer.invalid_reasons:
        return "invalid", answer.invalid_reasons[0]
    if row.answer and problem.is_right(answer):
        return "right", ""
    if column in OURS and texts:
        return "one warning", texts[0]
    return ("wrong, with a warning" if texts or log.count else "wrong, silently"), ""


def follow(row: Row, call: str) -> bool:
    """Return True if the remedy of our line gives the right answer."""
    problem = row.build()
    return problem.is_right(problem.run(row.remedies[call]))


def shorten(line: str) -> str:
    """Return a line without what PyTorch says and without places in this file, both of which change."""
    line = re.sub(r"(it raised \w+: ).*? \(input_rows\.py:\d+\)", r"\1...", line)
    return line.replace("|", "\\|").replace("<", "&lt;")


def cells(rows: Sequence[Row], columns: Sequence[str], known: dict[str, list[str]]) -> list[list[str]]:
    """Return a table's cells; those of a column that does not run are the known ones."""
    return [
        [row.words, *(verdict(row, column)[0] if column in columns else known[row.words][at] for at, column in enumerate(RUN))]
        for row in rows
    ]


def lines() -> list[list[str]]:
    """Return the table of our lines: input, calls, line, and the remedy if it is code."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in (*NETWORKS, *DATA):
        for column, call in OURS.items():
            cell, line = verdict(row, column)
            if cell != "right":
                found.setdefault((row.words, shorten(line)), []).append((column, row.remedies.get(call, "")))
    return [
        [
            words,
            ", ".join(column for column, _ in calls),
            line,
            "<br>".join(dict.fromkeys(f"`{code}`" for _, code in calls if code)),
        ]
        for (words, line), calls in found.items()
    ]


def read_table(page: str, heading: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table below a heading."""
    table = re.search(rf"^## {heading}\n.*?\n((?:\|[^\n]*\n)+)", page, re.MULTILINE | re.DOTALL)
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table[1].splitlines()] if table else []
    header, _, *body = [[cell.strip() for cell in row] for row in rows]
    return header, body


def with_table(page: str, heading: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the page with this table below the heading."""
    text = "".join(f"| {' | '.join(row)} |\n" for row in (header, ["---"] * len(header), *rows))
    return re.sub(
        rf"(^## {heading}\n.*?\n)(?:\|[^\n]*\n)+", lambda match: match[1] + text, page, flags=re.MULTILINE | re.DOTALL, count=1
    )


def main(columns: Sequence[str]) -> None:
    """Run the columns, all for none, and write the page."""
    torch.set_num_threads(1)
    page = PAGE.read_text(encoding="utf-8")
    for heading, rows in (("Networks", NETWORKS), ("Data", DATA)):
        header, body = read_table(page, heading)
        known = {words: texts for words, *texts in body}
        header = [
            "input",
            *(
                f"{name} {installed_version(name)}".strip() if name in columns else old
                for name, old in zip(RUN, header[1:], strict=True)
            ),
        ]
        page = with_table(page, heading, header, cells(rows, columns, known))
    page = with_table(page, "Our lines", ["input", "function", "line", "the remedy, done"], lines())
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:] or [column for column in RUN if column in OURS or installed_version(column)])
