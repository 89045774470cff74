"""A run directory never gives a result of other inputs: every command, and every kind of input that may change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., tuple[int, str, str]]

FILES = {
    "net_{id}.py": """
import torch
from torch import nn

import {net_helper}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(108, 3)

    def forward(self, x):
        return {net_helper}.scale(self.linear(x.flatten(1)))


def make():
    torch.manual_seed(0)
    return Network()
""",
    "net_helper_{id}.py": "def scale(logits):\n    return logits * 1\n",
    "data_{id}.py": """
import torch

import {data_helper}


class Images(torch.utils.data.Dataset):
    classes = ["a", "b", "c"]
    targets = [index % 3 for index in range(90)]

    def __len__(self):
        return 90

    def __getitem__(self, index):
        image = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(index))
        return {data_helper}.alter(image, index), index % 3


def make():
    return Images()
""",
    "data_helper_{id}.py": "def alter(image, index):\n    return image * 1\n",
    "candidate_{id}.py": """
def attack(model, x, y, epsilon):
    import {candidate_helper}

    return {candidate_helper}.step(x, epsilon)
""",
    "candidate_helper_{id}.py": "def step(x, epsilon):\n    return x * 1\n",
}

CHANGED_CODE = [name for name in FILES if not name.startswith("candidate")]


@pytest.fixture
def identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None, request: pytest.FixtureRequest) -> str:
    """Write code and images into the current directory; return the ending of all names of modules, which no other test has."""
    found = f"{abs(hash(request.node.name)):x}"
    monkeypatch.chdir(tmp_path)
    for name, code in FILES.items():
        named = code
        for kind in ("net", "data", "candidate"):
            named = named.replace(f"{{{kind}_helper}}", f"{kind}_helper_{found}")
        Path(name.format(id=found)).write_text(named)
    random = np.random.default_rng(0)
    for number in range(60):
        place = Path("images", "abc"[number % 3], f"{number:02}.bmp")
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8)).save(place)
    return found


def words(command: str, identity: str, data: str) -> list[str]:
    model, data = f"factory:net_{identity}.py:make", f"factory:data_{identity}.py:make" if data == "factory" else "folder:images"
    shared = ["--num-classes", "3", "--data", data, "--batch-size", "16", "--device", "cpu", "--out", "run", "--quiet", "--json"]
    own = {
        "transfer": ["--source", model],
        "compare": ["--model", model, "--references", "none", "--candidate", f"candidate_{identity}.py:attack"],
        "train": ["--model", model, "--weights", "auto", "--epochs", "1", "--held-out", "20"],
    }
    return [command, *own.get(command, ["--model", model]), *shared]


def contents() -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(Path("run").rglob("*")) if file.is_file()}


def check_refused(run: Run, command: list[str], change: Callable[[], None], undo: Callable[[], object]) -> str:
    """Return the message of a command that refuses what it returned before the change, and returns it again after that."""
    code, first, _ = run(*command)
    assert code in (0, 1)
    assert first
    before = contents()
    change()
    code, out, err = run(*command)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert contents() == before
    undo()
    assert run(*command)[0] in (0, 1)
    return err


COMMANDS = ["evaluate", "sweep", "attack", "compare", "transfer", "train"]


@pytest.mark.parametrize("changed", CHANGED_CODE)
@pytest.mark.parametrize("command", COMMANDS)
def test_changed_code_is_another_run(command: str, changed: str, identity: str, run: Run) -> None:
    file = Path(changed.format(id=identity))
    before = file.read_text()

    def change() -> None:
        file.write_text(before.replace("* 1", "* 0.5") + "\n# changed\n")

    err = check_refused(run, words(command, identity, "factory"), change, lambda: file.write_text(before))
    assert "code_sha256" in err


@pytest.mark.parametrize("changed", ["candidate_{id}.py", "candidate_helper_{id}.py"])
def test_changed_candidate_is_another_run(changed: str, identity: str, run: Run) -> None:
    file = Path(changed.format(id=identity))
    before = file.read_text()

    def change() -> None:
        file.write_text(before + "\n# changed\n")

    err = check_refused(run, words("compare", identity, "folder"), change, lambda: file.write_text(before))
    assert "candidate.sha256" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_changed_image_is_another_run(command: str, identity: str, run: Run) -> None:
    file = Path("images/b/22.bmp")
    before, status = file.read_bytes(), file.stat()

    def change() -> None:
        file.write_bytes(before[:-9] + bytes(9))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    err = check_refused(run, words(command, identity, "folder"), change, lambda: file.write_bytes(before))
    assert "images/b/22.bmp" in err or "content_hash.26-27" in err
