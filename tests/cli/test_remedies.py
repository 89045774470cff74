"""Each error's remedy, done as the error says: the command then succeeds.

A remedy may use no other words than those of the error, of the command before, and of `own`: what only the user knows.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import shufflenet_v2_x0_5

Run = Callable[..., tuple[int, str, str]]

NETWORKS = """
import functools

import numpy as np
import torch
from torch import nn

IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 4
AGE = torch.tensor(30.0)


def make(last=None, outputs=4):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, outputs))
    return body if last is None else nn.Sequential(body, last)


net = make()


def softmax():
    return make(nn.Softmax(1))


def log_softmax():
    return make(nn.LogSoftmax(1))


def sigmoids():
    return make(nn.Sequential(Scale(), nn.Sigmoid()))


def one_sigmoid():
    return make(nn.Sequential(Scale(), nn.Sigmoid()), 1)


def one_logit():
    return make(None, 1)


class Scale(nn.Module):
    def forward(self, z):
        return 20 * z


class Dropped(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.layer = nn.Linear(width, 4)

    def forward(self, x):
        return self.layer(nn.functional.dropout(x.flatten(1), 0.5, True))


class Sized(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(width, 4)

    def forward(self, x):
        return self.layer(x.flatten(1))


def make_sized():
    return Sized(width=64)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def forward(self, image, age):
        return self.layer(image.flatten(1)) + age


def bound():
    net = Two()
    net.forward = functools.partial(net.forward, age=AGE)
    return net


class Batch(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.layer = nn.BatchNorm1d(64, track_running_stats=False), nn.Linear(64, 4)

    def forward(self, x):
        return self.layer(self.norm(x.flatten(1)))


class Running(Batch):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(64)


def fitted(levels=1.0, prepare=lambda x: x):
    # right on the images of trained.npz, in its own units
    images = torch.from_numpy(np.load("trained.npz")["images"]).float().unsqueeze(1) / 255
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    x, y = prepare(images * levels), torch.from_numpy(np.load("trained.npz")["labels"])
    optimizer = torch.optim.Adam(net.parameters(), 0.05 / levels)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net


def normalised():
    return fitted(prepare=lambda x: (x - 0.5) / 0.25)


def levels():
    return fitted(levels=255.0)


def normalises_itself():
    return nn.Sequential(Centre(), fitted(prepare=Centre()))


class Centre(nn.Module):
    def forward(self, x):
        return torch.sin((x - 0.5) / 0.2)


def switched_off():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Dropout(0.5))


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64, 4))

    def forward(self, x):
        return x.flatten(1) @ self.weight


def make_rgb():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 4))


def make_table():
    return nn.Linear(10, 4)


def make_large():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2))


def data():
    return torch.utils.data.TensorDataset(IMAGES, LABELS)
"""


FGSM = """
import torch


def fgsm(model, x, y, epsilon):
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), y, reduction="sum"), x)
    return (x + epsilon * gradient.sign()).clamp(0, 1).detach()
"""


class Remedy(NamedTuple):
    """Wrong command, part of its error, the command as the error says, and the words that only the user knows."""

    wrong: str
    error: str
    right: str
    own: str = ""


E = "evaluate --model factory:net.py:make --num-classes 4 --data npz:d.npz --optimize none"
"""A command that succeeds."""

SOFTMAX = E.replace("make", "softmax")
BARE = E.replace("make --num-classes 4", "Bare")

M = "evaluate --model factory:net.py:make --num-classes 4 --optimize none"
"""A command without data."""

REMEDIES = [
    # budgets, norms and targets
    Remedy(f"{E} --eps 8", "did you mean 8/255?", f"{E} --eps 8/255"),
    Remedy(f"{E} --eps 8 --bounds -1,1", "did you mean 16/255?", f"{E} --eps 16/255 --bounds -1,1"),
    Remedy(f"{E} --eps 2.5", "did you mean", f"{E} --eps 0.00980392"),
    Remedy(f"{E} --eps 1,2/255", "use sweep for several", f"sweep {E.partition(' ')[2]} --eps 1,2/255"),
    Remedy(f"{E} --eps eight", "epsilon must look like 8/255 or 0.03", f"{E} --eps 8/255"),
    Remedy(f"{E} --eps eight", "epsilon must look like 8/255 or 0.03", f"{E} --eps 0.03"),
    Remedy(f"{E} --eps -1", "epsilon must be a finite number >= 0", f"{E} --eps 0"),
    Remedy(f"sweep {E.partition(' ')[2]} --eps 1,,2", "write 1,2,4/255", f"sweep {E.partition(' ')[2]} --eps 1,2,4/255"),
    Remedy(f"sweep {E.partition(' ')[2]} --eps 1,,2", "0.01,0.02", f"sweep {E.partition(' ')[2]} --eps 0.01,0.02"),
    Remedy(f"sweep {E.partition(' ')[2]} --eps 0.1,2/255", "write 1,2,4/255", f"sweep {E.partition(' ')[2]} --eps 1,2,4/255"),
    Remedy(f"{E} --norm 0.5", "inf, 1, 2 or any real", f"{E} --norm 1"),
    Remedy(f"{E} --norm linff", "try inf", f"{E} --norm inf"),
    Remedy(f"{E} --eps eight", "or 3%", f"{E} --eps 3%"),
    Remedy(f"sweep {E.partition(' ')[2]} --eps 3..1/255", "write 1..3/255", f"sweep {E.partition(' ')[2]} --eps 1..3/255"),
    Remedy(f"{E} --targeted nexxt", "did you mean next?", f"{E} --targeted next"),
    Remedy(f"{E} --targeted shift:4", "multiple of the 4 classes", f"{E} --targeted shift:1", "shift:1"),
    Remedy(f"{E} --targeted class:9", "must be one of the model's", f"{E} --targeted class:3", "class:3"),
    Remedy(
        f"{E} --loss probabilites --model factory:net.py:softmax",
        "did you mean",
        f"{E} --loss probabilities --model factory:net.py:softmax",
    ),
    Remedy(f"{E} --loss margin --stable", "drop one of the two", f"{E} --loss margin"),
    Remedy(f"{E} --loss margin --stable", "drop one of the two", f"{E} --stable"),
    Remedy(f"{E} --batch-size 0", "try 128", f"{E} --batch-size 128"),
    Remedy(f"{E} --optimize faster", "choose from", f"{E.replace('none', 'safe')}"),
    Remedy(f"{E} --seed -1", "try 0", f"{E} --seed 0"),
    Remedy(f"{E} --restarts -1", "try 4", f"{E} --restarts 4"),
    Remedy(f"{E} --pgd-check -5", "greater than or equal to 0", f"{E} --pgd-check 0"),
    Remedy(f"{E} --pgd-check 8 --norm 1", "leave them out", f"{E} --norm 1"),
    Remedy(f"{E} --check-masking --targeted next", "leave targeted out", f"{E} --check-masking"),
    Remedy(f"{E} --eps 0 --max-asr 90", "did you mean 0.9?", f"{E} --eps 0 --max-asr 0.9"),
    Remedy(f"{E} --format markdown --json", "leave one out", f"{E} --json"),
    Remedy(f"{E} --dtype float3", "did you mean", f"{E} --dtype float32"),
    # what the network is
    Remedy(f"{M} --model factory:net.py:net --data npz:d.npz", "write `def make()", f"{E}"),
    Remedy(
        f"{M} --model factory:net.py:Sized --data npz:d.npz",
        "write `def make()",
        f"{M} --model factory:net.py:make_sized --data npz:d.npz",
        "factory:net.py:make_sized",
    ),
    Remedy(f"{M} --model factory:net.py:maek --data npz:d.npz", "did you mean make", E),
    Remedy(f"{M} --model factory:net.py --data npz:d.npz", "name the function too", E, "factory:net.py:make"),
    Remedy(f"{M} --model factory:nett.py:make --data npz:d.npz", "check the path", E, "factory:net.py:make"),
    Remedy(
        f"{M} --model factory:net.py:Two --data npz:d.npz",
        "functools.partial(net.forward, age=age)",
        f"{M} --model factory:net.py:bound --data npz:d.npz",
        "factory:net.py:bound",
    ),
    Remedy(
        f"{M} --model factory:net.py:softmax --data npz:d.npz",
        "use --loss probabilities",
        f"{M} --model factory:net.py:softmax --data npz:d.npz --loss probabilities",
    ),
    Remedy(f"{M} --model factory:net.py:softmax --data npz:d.npz", "remove its softmax", E, "factory:net.py:make"),
    Remedy(
        f"{M} --model factory:net.py:sigmoids --data npz:d.npz",
        "--loss bce",
        f"{M} --model factory:net.py:sigmoids --data npz:d.npz --loss bce",
    ),
    Remedy(
        f"{M} --model factory:net.py:one_sigmoid --num-classes 2 --data npz:two.npz",
        "--loss probabilities",
        f"{M} --model factory:net.py:one_sigmoid --num-classes 2 --data npz:two.npz --loss probabilities",
    ),
    Remedy(
        f"{M} --model factory:net.py:one_sigmoid --num-classes 1 --data npz:two.npz",
        "which is 2 for a network with one output",
        f"{M} --model factory:net.py:one_logit --num-classes 2 --data npz:two.npz",
        "factory:net.py:one_logit",
    ),
    Remedy(
        f"{M} --model factory:net.py:one_logit --num-classes 1 --data npz:two.npz",
        "2",
        f"{M} --model factory:net.py:one_logit --num-classes 2 --data npz:two.npz",
    ),
    Remedy(
        f"{M} --model factory:net.py:one_logit --data npz:d.npz",
        "num_classes=2 (--num-classes 2)",
        f"{M} --model factory:net.py:one_logit --num-classes 2 --data npz:two.npz",
        "npz:two.npz",
    ),
    Remedy(f"{E} --loss probabilities", "use --loss ce", f"{E} --loss ce"),
    Remedy(f"{E} --loss bce", "use --loss bce-with-logits", f"{E} --loss bce-with-logits"),
    Remedy(f"{E} --num-classes 1", "pass the number of classes", E),
    Remedy(
        "evaluate --model factory:net.py:Bare --data npz:d.npz",
        "pass --num-classes",
        "evaluate --model factory:net.py:Bare --num-classes 4 --data npz:d.npz",
        "4",
    ),
    Remedy(f"{E} --num-classes 7", "pass num_classes=4 (--num-classes 4)", f"{E} --num-classes 4"),
    Remedy(f"{E} --mean half", "try 0.5", f"{E} --mean 0.5"),
    Remedy(f"{E} --std 0", "std must be positive", f"{E} --std 0.5", "0.5"),
    Remedy(f"{E} --bounds 1", "try 0,1", f"{E} --bounds 0,1"),
    Remedy(f"{E} --bounds 1,0", "did you mean 0,1?", f"{E} --bounds 0,1"),
    Remedy(
        f"{M} --model factory:net.py:Batch --data npz:five.npz --batch-size 2",
        "pass --batch-size 5",
        f"{M} --model factory:net.py:Batch --data npz:five.npz --batch-size 5",
    ),
    Remedy("evaluate --model smallcn --limit 4", "did you mean smallcnn?", "evaluate --model smallcnn --limit 4"),
    Remedy(
        "evaluate --model mlp300 --weights standrd --limit 4",
        "did you mean standard?",
        "evaluate --model mlp300 --weights standard --limit 4",
    ),
    Remedy(
        "evaluate --model smallcnn --data npz:grey.npz",
        "or FILE.safetensors, or none",
        "evaluate --model smallcnn --weights none --num-classes 4 --data npz:grey.npz",
        "--num-classes 4",
    ),
    Remedy(
        "evaluate --model shufflenet_v2_x0_5 --weights w.pth --num-classes 4 --data npz:colour.npz",
        "--mean 0 --std 1",
        "evaluate --model shufflenet_v2_x0_5 --weights w.pth --num-classes 4 --data npz:colour.npz --mean 0 --std 1",
    ),
    Remedy(f"{E} --weights standard", "leave it out", E),
    Remedy(
        "evaluate --model smallcnn --mean 0.5 --limit 4 --weights standard",
        "leave",
        "evaluate --model smallcnn --limit 4 --weights standard",
    ),
    # what the data are
    Remedy(f"{M} --data npz:from1.npz", "pass --labels-from 1", f"{M} --data npz:from1.npz --labels-from 1"),
    Remedy(
        f"{M} --data npz:ambiguous.npz",
        "pass --layout",
        f"{M} --model factory:net.py:make_rgb --data npz:ambiguous.npz --layout NHWC",
        "factory:net.py:make_rgb",
    ),
    Remedy(f"{E} --layout NWH", "did you mean", f"{E} --layout NHW"),
    Remedy(f"{M} --data npz:d.np", "check the path", E, "npz:d.npz"),
    Remedy(f"{M} --data npy:x.npy", "pass npy:IMAGES.npy,LABELS.npy", f"{M} --data npy:x.npy,y.npy", "npy:x.npy,y.npy"),
    Remedy(f"{M} --data net.py:data", "pass factory:net.py:data", f"{M} --data factory:net.py:data"),
    Remedy(f"{M} --data data.txt", "as in csv:data.txt", f"{M} --data csv:data.txt --shape 1x8x8", "--shape 1x8x8"),
    Remedy(
        f"{M} --data fashion-mnst",
        "did you mean fashion-mnist?",
        "evaluate --model mlp300 --data fashion-mnist --limit 4",
        "mlp300 --limit 4",
    ),
    Remedy(
        f"{M} --data npz:keys.npz",
        "pass --images-key NAME and --labels-key NAME",
        f"{M} --data npz:keys.npz --images-key a --labels-key b",
        "a b",
    ),
    Remedy(
        f"{M} --data npz:keys.npz --images-key aa --labels-key b",
        "did you mean a",
        f"{M} --data npz:keys.npz --images-key a --labels-key b",
    ),
    Remedy(f"{E} --limit 0", "leave it out", E),
    Remedy(f"{E} --sample 0", "leave it out", E),
    Remedy(f"{E} --stratified", "pass --limit N", f"{E} --stratified --limit 8", "8"),
    Remedy(f"{E} --image-size 8", "leave it out", E),
    Remedy(
        f"{E} --image-size 0",
        "try 224",
        "evaluate --model factory:net.py:make_large --num-classes 2 --data folder:pets --image-size 224",
        "factory:net.py:make_large 2 folder:pets",
    ),
    Remedy(f"{E} --workers -1", "greater than or equal to 0", f"{E} --workers 0"),
    Remedy(f"{E} --split test", "leave it out", E),
    Remedy(f"{M} --data npz:three.npz", "pass --class-map FILE", f"{M} --data npz:three.npz --class-map map.json", "map.json"),
    Remedy(f"{M} --data npz:levels.npz", "images / 255", f"{M} --data npz:d.npz", "npz:d.npz"),
    Remedy(
        f"{M} --data npz:table.npz --model factory:net.py:make_table",
        "bounds",
        f"{M} --data npz:table.npz --model factory:net.py:make_table --bounds -3,3",
        "--bounds -3,3",
    ),
    Remedy(
        f"{M} --data npz:three.npz --class-map part.json",
        "got no 'c': add it",
        f"{M} --data npz:three.npz --class-map map.json",
        "map.json",
    ),
    Remedy(
        f"{M} --data npz:three.npz --labels-from 1 --class-map map.json",
        "leave --labels-from out",
        f"{M} --data npz:three.npz --class-map map.json",
    ),
    Remedy(f"{M} --data npz:from1.npz --labels-from 2", "pass 0 or 1", f"{M} --data npz:from1.npz --labels-from 1"),
    Remedy(f"{M} --data csv:data.txt --shape 8", "is 8: choose another", f"{M} --data csv:data.txt --shape 8x8", "8x8"),
    Remedy(f"{M} --data csv:data.txt --shape 8y8", "try 28x28", f"{M} --data csv:data.txt --shape 8x8", "8x8"),
    Remedy(f"{M} --data npy:d.npz,y.npy", "pass npz:d.npz", f"{M} --data npz:d.npz"),
    Remedy(
        f"{M} --model factory:nets/net.txt:make --data npz:d.npz",
        "rename it to end in .py",
        f"{M} --model factory:nets/net.py:make --data npz:d.npz",
        "factory:nets/net.py:make",
    ),
    Remedy(
        f"{M} --model factory:nosuch.mod:make --data npz:d.npz",
        "path/to/file.py:fn",
        f"{M} --model factory:net.py:make --data npz:d.npz",
        "factory:net.py:make",
    ),
    Remedy(
        "evaluate --model w.pth --trust-model-code --num-classes 4 --data npz:colour.npz",
        "pass --model ARCHITECTURE --weights w.pth",
        "evaluate --model shufflenet_v2_x0_5 --weights w.pth --num-classes 4 --data npz:colour.npz --mean 0 --std 1",
        "shufflenet_v2_x0_5 --mean --std 0 1",
    ),
    # the program
    Remedy(
        "compare --model mlp300 --limit 4 --references artt",
        "did you mean art?",
        "compare --model mlp300 --limit 4 --references art",
    ),
    Remedy("list data --filter mlp", "leave it out", "list data"),
    Remedy("verify file.py:fgsm --weights standard", "leave them out", "verify file.py:fgsm"),
    Remedy(
        "attack --model mlp300 --limit 4 --out a --shard-size 0",
        "try 1000",
        "attack --model mlp300 --limit 4 --out a --shard-size 1000",
        "--limit 4",
    ),
    Remedy(
        "attack --model factory:net.py:make_table --num-classes 4 --bounds=-3,3 --data npz:table.npz --out b --save-as png",
        "use --save-as safetensors or npz",
        "attack --model factory:net.py:make_table --num-classes 4 --bounds=-3,3 --data npz:table.npz --out b --save-as npz",
    ),
    Remedy("evaluate --model timm:resnet18 --num-classes 4", "--data must be named", "list data"),
    Remedy(
        "attack --model mlp300",
        "attack needs --model NAME and --out DIR",
        "attack --model mlp300 --limit 4 --out made",
        "made 4 --limit",
    ),
    Remedy("verify file.py", "name the function too", "verify file.py:fgsm", "file.py:fgsm"),
]


NET = "factory:net.py:"
T = "evaluate --data npz:trained.npz --num-classes 4 --optimize none"
"""A command without a model."""

WARNINGS = [
    Remedy(
        f"{T} --model {NET}levels --bounds 0,255 --eps 8/255",
        "write 8 for 8/255",
        f"{T} --model {NET}levels --bounds 0,255 --eps 8",
    ),
    Remedy(f"{T} --model {NET}normalises_itself --mean 0.5 --std 0.2", "leave them out", f"{T} --model {NET}normalises_itself"),
    Remedy(
        f"{T} --model {NET}normalised --mean 127.5 --std 63.75",
        "pass mean 0.5 and std 0.25",
        f"{T} --model {NET}normalised --mean 0.5 --std 0.25",
    ),
    Remedy(f"{T} --model {NET}Dropped", "so switch it off", f"{T} --model {NET}switched_off", f"{NET}switched_off"),
    Remedy(f"{T} --model {NET}Batch", "let it use its running ones", f"{T} --model {NET}Running", f"{NET}Running"),
    Remedy(
        f"{T.replace('trained', 'fractions')} --model {NET}levels --bounds 0,255 --eps 8",
        "pass images * 255",
        f"{T} --model {NET}levels --bounds 0,255 --eps 8",
        "npz:trained.npz",
    ),
    Remedy(
        f"{T.replace('trained', 'twice')} --model {NET}make", "divided by 255 twice", f"{T} --model {NET}make", "npz:trained.npz"
    ),
    Remedy(
        f"{T.replace('trained', 'shifted')} --model {NET}fitted",
        "another order of classes",
        f"{T} --model {NET}fitted",
        "npz:trained.npz",
    ),
]
"""Commands with a warning before the attack, and part of it."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """A user's directory."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("net.py").write_text(NETWORKS)
    x, y = rng.integers(0, 256, (12, 8, 8), dtype=np.uint8), np.arange(12) % 4
    np.savez("d.npz", images=x, labels=y)
    np.savez("from1.npz", images=x, labels=y + 1)
    np.savez("two.npz", images=x, labels=y % 2)
    np.savez("three.npz", images=x, labels=y % 3, classes=np.array(["a", "b", "c"]))
    Path("part.json").write_text(json.dumps({"a": 0, "b": 1}))
    Path("nets").mkdir()
    for name in ("net.txt", "net.py"):
        Path("nets", name).write_text(NETWORKS)
    Path("map.json").write_text(json.dumps({"a": 0, "b": 1, "c": 3}))
    np.savez("five.npz", images=x[:5], labels=y[:5])
    np.savez("keys.npz", a=x, b=y)
    np.savez("levels.npz", images=x.astype("float32"), labels=y)
    np.savez("ambiguous.npz", images=rng.integers(0, 256, (12, 3, 64, 1), dtype=np.uint8), labels=y)
    np.savez("table.npz", images=rng.uniform(-3, 3, (12, 10)).astype("float32"), labels=y)
    np.savez("grey.npz", images=rng.integers(0, 256, (12, 28, 28), dtype=np.uint8), labels=y)
    torch.save(shufflenet_v2_x0_5(num_classes=4).state_dict(), "w.pth")
    np.savez("colour.npz", images=rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8), labels=y)
    for name in ("cat", "dog"):
        Path("pets", name).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(f"pets/{name}/0.png")
    Path("file.py").write_text(FGSM)
    trained = rng.integers(0, 256, (32, 8, 8), dtype=np.uint8)
    np.savez("trained.npz", images=trained, labels=np.arange(32) % 4)
    np.savez("shifted.npz", images=trained, labels=(np.arange(32) + 1) % 4)
    np.savez("fractions.npz", images=trained.astype("float32") / 255, labels=np.arange(32) % 4)
    np.savez("twice.npz", images=trained.astype("float32") / 255**2, labels=np.arange(32) % 4)
    np.save("x.npy", x)
    np.save("y.npy", y)
    Path("data.txt").write_text(
        "label,"
        + ",".join(f"pixel{i}" for i in range(64))
        + "\n"
        + "".join(f"{b},{','.join(map(str, a.ravel()))}\n" for a, b in zip(x, y, strict=True))
    )


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: f"{remedy.wrong}: {remedy.error}")
@pytest.mark.filterwarnings("ignore")
def test_remedy_succeeds(run: Run, remedy: Remedy) -> None:
    code, _, said = run(*shlex.split(remedy.wrong))
    assert code == 2, f"exit {code}: {said}"
    assert remedy.error in said
    assert not said_words(remedy, said), said
    code, _, said = run(*shlex.split(remedy.right))
    assert code == 0, said


def said_words(remedy: Remedy, said: str) -> list[str]:
    """Return the words of the remedy that neither the command nor the error nor the user has."""
    known = {*shlex.split(remedy.wrong), *remedy.own.split()}
    return [word for word in shlex.split(remedy.right) if word not in known and word not in said]


@pytest.mark.parametrize("remedy", WARNINGS, ids=lambda remedy: f"{remedy.wrong}: {remedy.error}")
@pytest.mark.filterwarnings("ignore")
def test_remedy_ends_the_warning(run: Run, remedy: Remedy) -> None:
    _, said, _ = run(*shlex.split(remedy.wrong), "--json")
    assert remedy.error in said
    assert not said_words(remedy, said)
    code, said, _ = run(*shlex.split(remedy.right), "--json")
    assert code == 0, said
    assert remedy.error not in said
