"""Mutate right implementations mechanically, and list the mutants that `rf.verify` calls right.

    python tests/verification/candidates/mutants.py [--list] [--only NAME ...] [--every N] [--time-limit SECONDS]

A mutant is killed if its verdict is not "right", if it cannot run, or if it exceeds the time limit. A mutant that survives is
equivalent if it does what the original does, bit for bit, on 200 random calls: outputs, images and modes afterwards. The survivors
among attacks of several steps are listed in survivors.json with their reasons. Survivors without one are listed at the end.
"""

from __future__ import annotations

import argparse
import ast
import copy
import inspect
import json
import multiprocessing
import random
import sys
import textwrap
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.models.classifier import PixelSpaceNetwork
from robustbench_fgsm.verification import iterates
from robustbench_fgsm.verification.step_rule import fit_rule, rule_of
from tests.verification.candidates.judge import processor_time

HEADER = """
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
"""

ORIGINALS = {
    "textbook": """
        def fgsm(model, x, y, epsilon, targeted=False):
            was_training = model.training
            model.eval()
            images = x.clone().detach()
            images.requires_grad = True
            outputs = model(images)
            loss = nn.CrossEntropyLoss(reduction="sum")(outputs, y)
            if targeted:
                loss = -loss
            grad = torch.autograd.grad(loss, images, retain_graph=False, create_graph=False)[0]
            adversarial = images + epsilon * grad.sign()
            adversarial = torch.clamp(adversarial, min=0, max=1).detach()
            model.train(was_training)
            return adversarial
    """,
    "numpy_loop": """
        def fgsm(model, x, y, epsilon):
            out = np.zeros(tuple(x.shape), dtype=np.float32)
            for i in range(len(x)):
                image = x[i:i + 1].detach().clone().requires_grad_(True)
                logits = model(image)
                loss = F.nll_loss(F.log_softmax(logits, dim=1), y[i:i + 1])
                loss.backward()
                grad = image.grad.numpy()
                step = np.where(grad > 0, 1.0, 0.0) - np.where(grad < 0, 1.0, 0.0)
                moved = image.detach().numpy() + epsilon * step
                moved = np.maximum(np.minimum(moved, 1.0), 0.0)
                out[i] = moved[0]
            return out
    """,
    "normalised_class": """
        class Attack:
            def __init__(self, low=0.0, high=1.0):
                self.low = low
                self.high = high
                self.criterion = nn.CrossEntropyLoss()

            def normalise(self, x):
                return (x - self.mean) / self.std

            def __call__(self, model, x, y, epsilon):
                self.mean = model.mean.reshape(1, -1, 1, 1)
                self.std = model.std.reshape(1, -1, 1, 1)
                z = self.normalise(x).detach().requires_grad_()
                loss = self.criterion(model.network(z), y)
                loss.backward()
                step = epsilon / self.std * z.grad.sign()
                z_low = (self.low - self.mean) / self.std
                z_high = (self.high - self.mean) / self.std
                z_adv = torch.max(torch.min(z.detach() + step, z_high), z_low)
                x_adv = z_adv * self.std + self.mean
                return x_adv.clamp(self.low, self.high)

        fgsm = Attack()
    """,
    "cotangent": """
        def fgsm(model, x, y, epsilon):
            delta = torch.zeros_like(x, requires_grad=True)
            logits = model(x + delta)
            with torch.no_grad():
                shifted = logits - logits.amax(dim=1, keepdim=True)
                powers = shifted.exp()
                cotangent = powers / powers.sum(dim=1, keepdim=True)
                cotangent[torch.arange(len(y)), y] -= 1
            logits.backward(gradient=cotangent)
            positive = delta.grad > 0
            negative = delta.grad < 0
            x_adv = x.detach().clone()
            x_adv[positive] += epsilon
            x_adv[negative] -= epsilon
            x_adv[x_adv > 1] = 1
            x_adv[x_adv < 0] = 0
            return x_adv
    """,
    "chunked_functional": """
        def fgsm(model, x, y, epsilon, chunk=16):
            def loss(images, labels):
                logits = model(images)
                own = logits.gather(1, labels[:, None]).squeeze(1)
                return (torch.logsumexp(logits, dim=1) - own).sum()

            parts = []
            start = 0
            while start < len(x):
                stop = min(start + chunk, len(x))
                images, labels = x[start:stop].detach(), y[start:stop]
                grad = torch.func.grad(loss)(images, labels)
                low = torch.max(images - epsilon, torch.zeros_like(images))
                high = torch.min(images + epsilon, torch.ones_like(images))
                parts.append(torch.where(grad > 0, high, torch.where(grad < 0, low, images)).clamp(0, 1))
                start = stop
            return torch.cat(parts, dim=0)
    """,
    "bim": """
        def fgsm(model, x, y, epsilon):
            alpha = epsilon / 10
            low = torch.clamp(x - epsilon, min=0, max=1)
            high = torch.clamp(x + epsilon, min=0, max=1)
            images = x.clone().detach()
            for step in range(10):
                images.requires_grad_()
                outputs = model(images)
                loss = nn.CrossEntropyLoss(reduction="sum")(outputs, y)
                grad = torch.autograd.grad(loss, images)[0]
                images = images.detach() + alpha * grad.sign()
                images = torch.max(torch.min(images, high), low)
            return images
    """,
    "pgd": """
        def fgsm(model, x, y, epsilon, targeted=False):
            steps = 7
            alpha = 2 / 255
            delta = torch.zeros_like(x)
            delta = delta.uniform_(-epsilon, epsilon)
            delta = torch.clamp(x + delta, min=0, max=1) - x
            for step in range(steps):
                delta.requires_grad_()
                logits = model(x + delta)
                loss = F.cross_entropy(logits, y, reduction="sum")
                if targeted:
                    loss = -loss
                grad = torch.autograd.grad(loss, delta)[0]
                moved = delta.detach() + alpha * grad.sign()
                moved = moved.clamp(min=-epsilon, max=epsilon)
                delta = torch.clamp(x + moved, min=0, max=1) - x
            return (x + delta).detach()
    """,
    "pgd_l2": """
        def fgsm(model, x, y, epsilon):
            images = x.clone().detach()
            size = (len(x), 1, 1, 1)
            alpha = 0.25 * epsilon
            for step in range(10):
                images.requires_grad_()
                loss = nn.CrossEntropyLoss()(model(images), y)
                loss.backward(inputs=[images])
                grad = images.grad
                length = grad.flatten(1).norm(dim=1).clamp(min=1e-30)
                moved = images.detach() + alpha * grad / length.view(size)
                delta = moved - x
                radius = delta.flatten(1).norm(dim=1).clamp(min=1e-30)
                factor = torch.min(epsilon / radius, torch.ones_like(radius))
                images = torch.clamp(x + delta * factor.view(size), min=0, max=1)
            return images
    """,
    "mi_fgsm": """
        def fgsm(model, x, y, epsilon, decay=1.0):
            alpha = epsilon / 10
            total = torch.zeros_like(x)
            images = x.clone().detach()
            for step in range(10):
                images.requires_grad_()
                loss = nn.CrossEntropyLoss(reduction="sum")(model(images), y)
                grad = torch.autograd.grad(loss, images)[0]
                length = grad.abs().flatten(1).sum(1).clamp(min=1e-30)
                total = decay * total + grad / length.view(-1, 1, 1, 1)
                moved = images.detach() + alpha * total.sign()
                images = torch.clamp(x + (moved - x).clamp(min=-epsilon, max=epsilon), min=0, max=1)
            return images
    """,
    "fgsm_rs": """
        def fgsm(model, x, y, epsilon):
            alpha = 1.25 * epsilon
            delta = torch.zeros_like(x).uniform_(-epsilon, epsilon)
            delta = torch.clamp(x + delta, min=0, max=1) - x
            delta.requires_grad_()
            loss = F.cross_entropy(model(x + delta), y, reduction="sum")
            grad = torch.autograd.grad(loss, delta)[0]
            moved = delta.detach() + alpha * grad.sign()
            moved = moved.clamp(min=-epsilon, max=epsilon)
            return torch.clamp(x + moved, min=0, max=1)
    """,
    "r_fgsm": """
        def fgsm(model, x, y, epsilon, share=0.5):
            alpha = share * epsilon
            start = x + alpha * torch.randn_like(x).sign()
            start = start.clamp(min=0, max=1)
            start.requires_grad_()
            loss = F.cross_entropy(model(start), y, reduction="sum")
            grad = torch.autograd.grad(loss, start)[0]
            moved = start.detach() + (epsilon - alpha) * grad.sign()
            return moved.clamp(min=0, max=1)
    """,
    "fgm_l2": """
        def fgsm(model, x, y, epsilon):
            images = x.clone().detach().requires_grad_()
            loss = nn.CrossEntropyLoss(reduction="sum")(model(images), y)
            grad = torch.autograd.grad(loss, images)[0]
            length = grad.flatten(1).norm(dim=1).clamp(min=1e-30)
            step = epsilon * grad / length.view(-1, 1, 1, 1)
            return torch.clamp(images.detach() + step, min=0, max=1)
    """,
}
"""Right implementations, each in another style. Those named in `SETTINGS` are other attacks than FGSM."""

SETTINGS: dict[str, dict[str, Any]] = {
    "bim": {"method": "bim"},
    "pgd": {"method": "pgd", "steps": 7, "step_size": "2/255", "random_start": True},
    "pgd_l2": {"method": "pgd", "norm": "2"},
    "mi_fgsm": {"method": "mi-fgsm"},
    "fgsm_rs": {"method": "fgsm-rs"},
    "r_fgsm": {"method": "r+fgsm"},
    "fgm_l2": {"method": "fgm"},
}
"""What the originals that are not FGSM claim to be."""

EVERY = {"mi_fgsm": 8, "fgsm_rs": 7, "r_fgsm": 6, "fgm_l2": 4}
"""Every how many mutants of an original are run; 1 for the others."""

SURVIVORS: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("survivors.json").read_text(encoding="utf-8"))
"""Mutants of these originals that `rf.verify` calls right, in groups: what they do -> name -> reason."""

ROUNDING = 5e-7
"""Distance of two pixels that differ by rounding only."""

OPERATORS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add, ast.Mult),
    ast.Mult: (ast.Add, ast.Div),
    ast.Div: (ast.Mult, ast.Sub),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.USub: (ast.UAdd,),
}

METHODS = {
    "sign": ("abs", "tanh"),
    "clamp": ("mul",),
    "min": ("max", "add"),
    "max": ("min", "add"),
    "minimum": ("maximum",),
    "maximum": ("minimum",),
    "eval": ("train",),
    "train": ("eval",),
    "exp": ("exp2", "abs"),
    "sum": ("mean", "amax"),
    "amax": ("amin", "sum"),
    "log_softmax": ("softmax", "logsigmoid"),
    "nll_loss": ("cross_entropy", "multi_margin_loss"),
    "CrossEntropyLoss": ("MultiMarginLoss", "NLLLoss"),
    "logsumexp": ("amax", "mean"),
    "zeros_like": ("ones_like", "rand_like"),
    "ones_like": ("zeros_like",),
    "zeros": ("ones",),
    "std": ("mean",),
    "mean": ("std",),
    "network": ("forward",),
    "low": ("high",),
    "high": ("low",),
    "clone": ("detach", "contiguous"),
    "detach": ("clone", "contiguous"),
}
"""Attributes that stand in for another attribute."""


@dataclass(frozen=True)
class Mutant:
    """One change of one original."""

    original: str
    change: str
    source: str

    @property
    def name(self) -> str:
        """Original and change."""
        return f"{self.original}: {self.change}"


def chosen_mutants(original: str) -> list[Mutant]:
    """Return the mutants of an original that are run."""
    return list(make_mutants(original))[:: EVERY.get(original, 1)]


def make_mutants(original: str) -> Iterator[Mutant]:
    """Yield every mutant of an original once."""
    source = textwrap.dedent(ORIGINALS[original])
    tree = ast.parse(source)
    seen = {ast.unparse(tree)}
    for index, node in enumerate(ast.walk(tree)):
        for number, change in enumerate(changes(node, tree)):
            del change
            mutated = copy.deepcopy(tree)
            target = list(ast.walk(mutated))[index]
            text = list(changes(target, mutated))[number]()
            if text is None:
                continue
            code = ast.unparse(ast.fix_missing_locations(mutated))
            if code not in seen:
                seen.add(code)
                yield Mutant(original, f"{place(node)}: {text}", code)


def place(node: ast.AST) -> str:
    """Return line and column of a node."""
    return f"line {getattr(node, 'lineno', 0)}, column {getattr(node, 'col_offset', 0)}"


Change = Callable[[], str | None]
"""Change of a tree in place; returns its description, or None if it cannot be made."""


def changes(node: ast.AST, tree: ast.AST) -> list[Change]:
    """Return the changes that can be made at a node, always in the same order."""
    found: list[Change] = []
    if isinstance(node, ast.BinOp | ast.UnaryOp | ast.AugAssign):
        found += [setter(node, "op", kind()) for kind in OPERATORS.get(type(node.op), ())]
    if isinstance(node, ast.Compare):
        found += [setter(node, "ops", [kind()]) for kind in OPERATORS.get(type(node.ops[0]), ())]
    if isinstance(node, ast.Constant):
        found += [setter(node, "value", value) for value in other_constants(node.value)]
    if isinstance(node, ast.Attribute):
        found += [setter(node, "attr", name) for name in METHODS.get(node.attr, ())]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        found += [setter(node, "id", name) for name in other_names(node, tree)]
    if isinstance(node, ast.Call):
        found += call_changes(node)
    if isinstance(node, ast.If):
        found.append(setter(node, "test", ast.UnaryOp(ast.Not(), node.test)))
    for field in ("body", "orelse"):
        statements = getattr(node, field, None)
        if isinstance(statements, list):
            found += [dropper(statements, position) for position in range(len(statements))]
            found += [exchanger(statements, position) for position in range(len(statements) - 1)]
    return found


def setter(node: ast.AST, field: str, value: Any) -> Change:
    """Return the change of one field of a node."""

    def change() -> str:
        before = ast.unparse(node)
        setattr(node, field, value)
        return f"{before}  ->  {ast.unparse(ast.fix_missing_locations(node))}"

    return change


def dropper(statements: list[ast.stmt], position: int) -> Change:
    """Return the removal of one statement."""

    def change() -> str | None:
        statement = statements[position]
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.Pass):
            return None
        statements[position] = ast.Pass()
        return f"drop  {first_line(statement)}"

    return change


def exchanger(statements: list[ast.stmt], position: int) -> Change:
    """Return the exchange of a statement and the next one."""

    def change() -> str | None:
        first, second = statements[position : position + 2]
        if isinstance(first, ast.FunctionDef | ast.ClassDef) or isinstance(second, ast.FunctionDef | ast.ClassDef):
            return None
        statements[position : position + 2] = [second, first]
        return f"exchange  {first_line(first)}  and  {first_line(second)}"

    return change


def call_changes(call: ast.Call) -> list[Change]:
    """Return changes of a call: an argument dropped, two exchanged, or the call replaced by what it works on."""
    found = [remover(call, "args", position) for position in range(len(call.args))]
    found += [remover(call, "keywords", position) for position in range(len(call.keywords))]
    if len(call.args) > 1:
        found.append(setter(call, "args", [call.args[1], call.args[0], *call.args[2:]]))
    inner = call.args[0] if call.args else call.func.value if isinstance(call.func, ast.Attribute) else None
    if inner is not None:
        found.append(replacer(call, inner))
    if call.args and isinstance(call.func, ast.Attribute) and not isinstance(call.func.value, ast.Name):
        found.append(replacer(call, call.func.value))
    return found


def remover(call: ast.Call, field: str, position: int) -> Change:
    """Return the removal of one argument."""

    def change() -> str:
        before = ast.unparse(call)
        del getattr(call, field)[position]
        return f"{before}  ->  {ast.unparse(call)}"

    return change


def replacer(call: ast.Call, inner: ast.expr) -> Change:
    """Return the replacement of a call by an expression inside it."""

    def change() -> str:
        before = ast.unparse(call)
        call.func, call.args, call.keywords = ast.Name("same", ast.Load()), [inner], []
        return f"{before}  ->  {ast.unparse(inner)}"

    return change


def other_constants(value: Any) -> list[Any]:
    """Return constants to put in the place of one."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value + 1, value + 0.01, value - 0.5]
    if value == "sum":
        return ["mean", "none"]
    return []


def other_names(name: ast.Name, tree: ast.AST) -> list[str]:
    """Return the variable that is named before and the one that is named after a variable, in the order of names."""
    assigned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    given = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names = sorted((assigned | given) - {"self", "fgsm"})
    if name.id not in names:
        return []
    at = names.index(name.id)
    return [other for other in (names[at - 1], names[(at + 1) % len(names)]) if other != name.id]


def first_line(statement: ast.stmt) -> str:
    """Return the first line of a statement."""
    return ast.unparse(statement).splitlines()[0]


def compiled(source: str) -> Any:
    """Return the attack that a source defines."""
    space: dict[str, Any] = {"same": lambda value: value}
    exec(HEADER + source, space)
    return space["fgsm"]


# --- classes of mutants


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: killed, equivalent, rounding (equivalent but for rounding) or survived."""

    mutant: Mutant
    kind: str
    reason: str
    seconds: float


def run_mutant(mutant: Mutant, time_limit: float) -> Outcome:
    """Verify a mutant in a process of its own, and compare a survivor with its original."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=report_outcome, args=(mutant, sender))
    process.start()
    sender.close()
    try:
        kind, reason, seconds = receiver.recv() if receiver.poll(time_limit) else ("killed", "time limit", time_limit)
    except EOFError:
        kind, reason, seconds = "killed", "process ended", 0.0
    process.kill()
    process.join()
    return Outcome(mutant, kind, reason, seconds)


def report_outcome(mutant: Mutant, sender: Any) -> None:
    """Send kind, reason and seconds of processor time."""
    warnings.simplefilter("ignore")
    start = processor_time()
    try:
        document = verdict_of(mutant)
    except Exception as error:  # noqa: BLE001 - whatever stops a mutant kills it
        sender.send(("killed", f"cannot run: {type(error).__name__}", processor_time() - start))
        return
    seconds = processor_time() - start
    if document["verdict"] != "right":
        stages = [f"{stage['stage']}:{stage['cause']}" for stage in document["stages"] if stage["verdict"] != "ok"]
        sender.send(("killed", f"{document['verdict']} {' '.join(stages)}", seconds))
        return
    different = first_difference(mutant)
    kind = "equivalent" if different is None else "survived" if first_difference(mutant, tolerance=ROUNDING) else "rounding"
    sender.send((kind, different or "", seconds))


def verdict_of(mutant: Mutant) -> dict[str, Any]:
    """Return the document of a mutant. For attacks other than FGSM one call may show that it is wrong; no name is looked for."""
    settings = SETTINGS.get(mutant.original)
    if settings is None:
        return rf.verify(compiled(mutant.source)).to_dict()
    with mock.patch.object(iterates, "find_rule", lambda path, method: fit_rule(path, method, rule_of(method))):
        first = rf.verify(compiled(mutant.source), cases=["rows"], **settings).to_dict()
        return first if first["verdict"] == "wrong" else rf.verify(compiled(mutant.source), **settings).to_dict()


def first_difference(mutant: Mutant, calls: int = 200, tolerance: float = 0.0) -> str | None:
    """Return the first random call that shows a difference from the original beyond a tolerance, or None."""
    mine, original = compiled(mutant.source), compiled(textwrap.dedent(ORIGINALS[mutant.original]))
    generator = random.Random(0)
    for number in range(calls):
        call = random_call(generator)
        expected = observations(original, call)
        try:
            found = observations(mine, call)
        except Exception as error:  # noqa: BLE001 - whatever a mutant raises is a difference
            return f"call {number} raises {type(error).__name__}"
        for name, value in expected.items():
            same_shape = np.shape(value) == np.shape(found[name])
            if not same_shape or not np.allclose(value, found[name], rtol=0, atol=tolerance, equal_nan=True):
                return f"call {number} (n={len(call.x)}, epsilon={call.epsilon:g}): another {name}"
    return None


@dataclass(frozen=True)
class RandomCall:
    """Arguments of an attack; labels and further labels for a second call with the same images."""

    model: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    other_y: torch.Tensor
    epsilon: float
    targeted: bool


def observations(attack: Any, call: RandomCall) -> dict[str, Any]:
    """Return the outputs of two calls with the same network and images, and what the calls leave behind."""
    model, x = copy.deepcopy(call.model), call.x.clone()
    torch.manual_seed(0)
    offers = "targeted" in inspect.signature(attack).parameters
    keywords = {"targeted": True} if call.targeted and offers else {}
    first = torch.as_tensor(attack(model, x, call.y.clone(), call.epsilon, **keywords)).detach().clone()
    second = torch.as_tensor(attack(model, x, call.other_y.clone(), call.epsilon, **keywords)).detach()
    return {
        "first output": first.numpy(),
        "second output": second.numpy(),
        "image afterwards": x.detach().numpy(),
        "mode afterwards": [module.training for module in model.modules()],
    }


def random_call(generator: random.Random) -> RandomCall:
    """Return a call with a random network, images, labels and budget."""
    torch.manual_seed(generator.randrange(10**6))
    n, c, k = generator.choice((1, 2, 17, 40)), generator.choice((1, 3)), generator.choice((2, 10))
    convolutional = nn.Sequential(nn.Conv2d(c, 6, 3, padding=1), nn.Tanh(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(6 * 64, k))
    network = convolutional if generator.random() < 0.5 else nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(c * 64, k))
    for p in network.parameters():
        p.data *= generator.choice((0, 0.1, 1, 10))
    model = PixelSpaceNetwork(network, [0.3 + 0.1 * i for i in range(c)], [0.2 + 0.05 * i for i in range(c)]).eval()
    x = (torch.rand(n, c, 8, 8) * 1.2 - 0.1).clamp(0, 1)
    if generator.random() < 0.3:
        x = 0.3 + 0.3 * x
    labels = torch.randint(k, (2, n))
    epsilon = generator.choice((0.0, 1e-6, 1e-3, 8 / 255, 0.1, 0.4, 1.0))
    return RandomCall(model, x, labels[0], labels[1], epsilon, generator.random() < 0.5)


def main() -> int:
    """Run the mutants, and return 0 if each is killed or equivalent."""
    parser = argparse.ArgumentParser(description="List mutants of right implementations that rf.verify calls right.")
    parser.add_argument("--list", action="store_true", help="print the mutants, and do not run them")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(ORIGINALS), choices=list(ORIGINALS), help="originals")
    parser.add_argument("--time-limit", type=float, default=60.0, metavar="SECONDS", help="for each mutant (default 60)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th mutant only")
    arguments = parser.parse_args()
    mutants = [mutant for name in arguments.only for mutant in chosen_mutants(name)][:: arguments.every]
    if arguments.list:
        for mutant in mutants:
            print(mutant.name)  # noqa: T201
        print(f"{len(mutants)} mutants: {dict(Counter(mutant.original for mutant in mutants))}")  # noqa: T201
        return 0
    originals = [Mutant(name, "unchanged", textwrap.dedent(ORIGINALS[name])) for name in arguments.only]
    bad = [
        outcome for outcome in (run_mutant(mutant, arguments.time_limit) for mutant in originals) if outcome.kind != "equivalent"
    ]
    for outcome in bad:
        print(f"ORIGINAL {outcome.mutant.name} is not called right: {outcome.reason}")  # noqa: T201
    start, outcomes = time.perf_counter(), []
    for mutant in mutants:
        outcomes.append(run_mutant(mutant, arguments.time_limit))
        print(f"{outcomes[-1].kind:10} {outcomes[-1].seconds:4.1f} s  {mutant.name}  {outcomes[-1].reason}", flush=True)  # noqa: T201
    known = {name for group in SURVIVORS.values() for name in group}
    survivors = [outcome for outcome in outcomes if outcome.kind == "survived" and outcome.mutant.name not in known]
    print(f"{len(outcomes)} mutants in {time.perf_counter() - start:.0f} s: {dict(Counter(outcome.kind for outcome in outcomes))}")  # noqa: T201
    for outcome in survivors:
        print(f"SURVIVED {outcome.mutant.name}  {outcome.reason}")  # noqa: T201
    return 1 if survivors or bad else 0


if __name__ == "__main__":
    sys.exit(main())
