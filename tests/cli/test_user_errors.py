"""Whatever a user's code raises, and wherever: one line with type, message and place, and exit code 2."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_fgsm as rf

Run = Callable[..., tuple[int, str, str]]

FILE = """
import functools
import torch
from torch import nn

class Mine(Exception): pass

class Outside(BaseException): pass

class Silent(Exception):
    def __str__(self): raise RuntimeError("no text")

def deeper(n): return deeper(n + 1)

def fail():
    {raises}

class Net(nn.Module):
    def __init__(self, place):
        super().__init__()
        self.place, self.linear, self.calls = place, nn.Linear(16, 3), 0
        with torch.no_grad():
            self.linear.weight.copy_(torch.linspace(-1, 1, 48).reshape(3, 16))
            self.linear.bias.zero_()

    def forward(self, x):
        if self.place == "forward":
            fail()
        if self.place == "late" and bool((x[:, 0, 0, 0] == 1).any()):
            fail()
        return self.linear(x.flatten(1))

    def state_dict(self, *args, **kwargs):
        if self.place == "state_dict":
            fail()
        return super().state_dict(*args, **kwargs)

    def train(self, mode=True):
        if getattr(self, "place", "") == "train":
            fail()
        return super().train(mode)

    def __deepcopy__(self, memo):
        if self.place == "deepcopy":
            fail()
        copied = Net("")
        copied.load_state_dict(self.state_dict())
        copied.place = self.place
        return copied

class Pairs:
    classes = ("a", "b", "c")
    def __init__(self, place): self.place = place
    def __len__(self):
        if self.place == "len":
            fail()
        return 8
    def __getitem__(self, index):
        if self.place == "getitem":
            fail()
        return torch.full((1, 4, 4), index / 16), index % 3

def factory(): fail()
def good(): return Net("")
def forward(): return Net("forward")
def late(): return Net("late")
def state_dict(): return Net("state_dict")
def train(): return Net("train")
def deepcopy(): return Net("deepcopy")
def length(): return Pairs("len")
def getitem(): return Pairs("getitem")
def pairs(): return Pairs("")
"""

RAISES = {
    "TypeError": "raise TypeError('some words')",
    "KeyError": "raise KeyError('some words')",
    "AssertionError": "assert False, 'some words'",
    "FileNotFoundError": "raise FileNotFoundError('some words')",
    "NotImplementedError": "raise NotImplementedError('some words')",
    "Mine": "raise Mine('some words')",
    "Outside": "raise Outside('some words')",
    "Silent": "raise Silent('some words')",
    "SystemExit": "raise SystemExit('some words')",
    "RecursionError": "deeper(0)",
    "StopIteration": "next(iter(()))",
    "ValueError": "raise ValueError('first\\n\\n  second' + 100_000 * 'x')",
    "ZeroDivisionError": "1 / 0",
}
MODEL_PLACES = ("factory", "forward", "train", "state_dict")
DATA_PLACES = ("factory", "length", "getitem")


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    """A function that writes the user's file with one way to fail."""

    def write(raises: str) -> Path:
        path = tmp_path / "mine.py"
        path.write_text(FILE.replace("{raises}", raises))
        return path

    return write


def check_line(code: int, err: str, name: str, words: str = "some words") -> None:
    """Check that standard error is one short line with type and place."""
    assert code == 2, err
    (line,) = [found for found in err.splitlines() if found.startswith("rfgsm: ")]
    assert err.endswith(f"{line}\n")
    assert name in line
    assert re.search(r"\(mine\.py:\d+\)", line)
    assert len(line) < 700
    if "some words" in RAISES[name] and name != "Silent":
        assert words in line


@pytest.mark.parametrize("place", MODEL_PLACES)
@pytest.mark.parametrize("name", RAISES)
def test_a_model(run: Run, file: Callable[[str], Path], name: str, place: str) -> None:
    path = file(RAISES[name])
    code, out, err = run("evaluate", "--model", f"factory:{path}:{place}", "--data", f"factory:{path}:pairs", "--json", "--quiet")
    check_line(code, err, name)
    assert not out


@pytest.mark.parametrize("place", DATA_PLACES)
@pytest.mark.parametrize("name", RAISES)
def test_data(run: Run, file: Callable[[str], Path], name: str, place: str) -> None:
    path = file(RAISES[name])
    code, _, err = run("evaluate", "--model", f"factory:{path}:good", "--data", f"factory:{path}:{place}", "--quiet")
    check_line(code, err, name)


@pytest.mark.parametrize("name", RAISES)
def test_a_module_that_fails_on_import(run: Run, tmp_path: Path, name: str) -> None:
    raises = RAISES[name]
    classes = FILE.partition("def fail")[0]
    (tmp_path / "mine.py").write_text(f"{classes}\n{raises}\ndef make(): ...\n")
    code, _, err = run("evaluate", "--model", f"factory:{tmp_path / 'mine.py'}:make", "--data", "fashion-mnist", "--quiet")
    check_line(code, err, name)


def test_debug_shows_both_tracebacks(run: Run, file: Callable[[str], Path]) -> None:
    path = file(RAISES["KeyError"])
    code, _, err = run("evaluate", "--model", f"factory:{path}:forward", "--data", f"factory:{path}:pairs", "--quiet", "--debug")
    assert code == 2
    assert "KeyError: 'some words'" in err
    assert "was the direct cause" in err
    assert "ModelError" in err


def test_an_interrupt_passes(run: Run, file: Callable[[str], Path]) -> None:
    path = file("raise KeyboardInterrupt")
    assert run("evaluate", "--model", f"factory:{path}:forward", "--data", f"factory:{path}:pairs", "--quiet")[0] == 130


def test_finished_pieces_are_kept(run: Run, file: Callable[[str], Path], tmp_path: Path) -> None:
    """A network that fails late for want of a file: the pieces before are kept, and the run goes on when the file is there."""
    pixels = np.zeros((40_000, 1, 4, 4), np.uint8)
    pixels[30_001, 0, 0, 0] = 255  # not among the images that the preflight looks at
    np.savez(tmp_path / "data.npz", images=pixels, labels=np.arange(40_000) % 3)
    words = ["evaluate", "--model", f"factory:{tmp_path / 'mine.py'}:late", "--data", f"npz:{tmp_path / 'data.npz'}"]
    words += ["--out", str(tmp_path / "run"), "--batch-size", "64", "--optimize", "none", "--json", "--quiet"]
    file(f"open({str(tmp_path / 'needed')!r}).close()")
    code, _, err = run(*words)
    check_line(code, err, "FileNotFoundError", "needed")
    ledger = (tmp_path / "run" / "ledger-00000.bin").stat().st_size
    assert ledger > 0
    (tmp_path / "needed").touch()
    code, out, err = run(*words)
    assert (code, json.loads(out)["n"]) == (0, 40_000), err
    assert (tmp_path / "run" / "ledger-00000.bin").stat().st_size > ledger


class Aged(nn.Module):
    """A network of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 3)

    def forward(self, image: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(image.flatten(1)) + age
        return logits


def test_two_inputs_and_both_remedies(run: Run, tmp_path: Path) -> None:
    net, age = Aged(), torch.tensor(1.0)
    x, y = torch.rand(4, 1, 4, 4), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(rf.ModelError, match=r"it takes age too, so pass `lambda x: net\(x, age\)`") as raised:
        rf.fgsm(net, x, y)
    rf.fgsm(lambda x: net(x, age), x, y)
    (line,) = re.findall(r"set `(.*?)`", str(raised.value))
    (tmp_path / "aged.py").write_text(
        "import functools, torch\nfrom torch import nn\n"
        "class Aged(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.linear = nn.Linear(16, 3)\n"
        "    def forward(self, image, age):\n        return self.linear(image.flatten(1)) + age\n"
        "def bare():\n    return Aged()\n"
        f"def make():\n    net, age = Aged(), torch.tensor(1.0)\n    {line}\n    return net\n"
    )
    np.savez(tmp_path / "data.npz", images=np.zeros((8, 1, 4, 4), np.uint8), labels=np.arange(8) % 3)
    words = ["evaluate", "--num-classes", "3", "--data", f"npz:{tmp_path / 'data.npz'}", "--quiet"]
    code, _, err = run(*words, "--model", f"factory:{tmp_path / 'aged.py'}:bare")
    assert (code, "it takes age too" in err) == (2, True)
    assert run(*words, "--model", f"factory:{tmp_path / 'aged.py'}:make")[0] == 0


@pytest.mark.parametrize(("name", "shown"), [("net", "net, an object of type Net"), ("Net", r"Net\(place\)")])
def test_a_factory_that_is_no_function(run: Run, file: Callable[[str], Path], name: str, shown: str) -> None:
    path = file("pass")
    path.write_text(path.read_text() + "\nnet = Net('')\n")
    words = ["evaluate", "--num-classes", "3", "--data", f"factory:{path}:pairs", "--quiet"]
    code, _, err = run(*words, "--model", f"factory:{path}:{name}")
    assert (code, bool(re.search(shown, err))) == (2, True)
    (line,) = re.findall(r"write `(.*?)`", err)
    path.write_text(path.read_text() + f"\n{line.replace('...', repr(''))}\n")
    (spec,) = re.findall(r"pass (factory:\S+)", err)
    assert run(*words, "--model", spec)[0] == 0


@pytest.mark.parametrize("name", RAISES)
def test_a_copy(file: Callable[[str], Path], name: str) -> None:
    found: dict[str, Callable[[], nn.Module]] = {}
    path = file(RAISES[name])
    exec(compile(path.read_text(), str(path), "exec"), found)
    with pytest.raises(rf.ModelError, match=rf"it raised {name}.* \(mine\.py:\d+\): define __deepcopy__"):
        rf.wrap(found["deepcopy"](), 3)


@pytest.mark.parametrize("name", RAISES)
def test_a_loss(file: Callable[[str], Path], name: str) -> None:
    found: dict[str, Callable[[], None]] = {}
    path = file(RAISES[name])
    exec(compile(path.read_text(), str(path), "exec"), found)

    def loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        found["fail"]()
        return outputs.sum(1)

    with pytest.raises(rf.SettingError, match=rf"it raised {name}.* \(mine\.py:\d+\)"):
        rf.fgsm(nn.Flatten(), torch.rand(2, 1, 2, 2), torch.tensor([0, 1]), loss=loss)
