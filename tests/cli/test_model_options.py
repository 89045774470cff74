"""Models of every kind as a user meets them on the command line: `compare` agrees with ART, and what is unsafe exits 4."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from robustbench_fgsm.cli.options import ModelOptions
from robustbench_fgsm.errors import SettingError

Run = Callable[..., tuple[int, str, str]]
FEW = ("--data", "fashion-mnist", "--limit", "8", "--json")

FACTORY = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 5), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(1152, 10))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FACTORY)
    return tmp_path


@pytest.mark.reference
def test_a_factory(run: Run, place: Path) -> None:
    words = ("--model", "factory:mine.py:make", "--mean", "0.286", "--std", "0.353")
    code, out, err = run("compare", *words, *FEW)
    document = json.loads(out)
    assert (code, document["verdict"]) == (0, "agree")
    assert document["model"]["settings"] == {"mean": [0.286], "std": [0.353]}
    assert "factory:mine.py:make: given weights, mean 0.286, std 0.353, 8 images of fashion-mnist" in err


@pytest.mark.reference
@pytest.mark.parametrize("command", ["compare", "evaluate", "sweep"])
def test_an_architecture_with_a_checkpoint(run: Run, place: Path, command: str) -> None:
    from torchvision.models import shufflenet_v2_x0_5

    torch.save(shufflenet_v2_x0_5(num_classes=10).state_dict(), "mine.pth")
    words = ["--model", "shufflenet_v2_x0_5", "--weights", "mine.pth", "--num-classes", "10"]
    code, out, _ = run(command, *words, "--mean", "0.2,0.3,0.4", "--std", "0.5", *FEW)
    assert code == 0
    first = json.loads(out)
    model = first["evaluations"][0]["model"] if command == "sweep" else first["model"]
    assert (model["weights"], model["mean"], model["std"]) == ("mine.pth", [0.2, 0.3, 0.4], [0.5])
    code, _, err = run("compare", *words, *FEW)
    assert (code, "pass --mean and --std" in err, err.count("\n")) == (2, True, 1)


class Gadget:
    """Makes a directory when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("mark",)


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "mlp300", "--weights", "gadget.pt"],
        ["--model", "resnet50", "--weights", "gadget.pt", "--mean", "0", "--std", "1"],
        ["--model", "gadget.pt"],
        ["--model", "gadget.pt", "--trust-model-code"],
        ["--model", "gadget.pt2"],
        ["--model", "sklearn:gadget.joblib"],
    ],
    ids=" ".join,
)
def test_unsafe_files_exit_4_unrun(run: Run, place: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"w": Gadget()}, "gadget.pt")
    Path("gadget.pt2").write_bytes(Path("gadget.pt").read_bytes())
    Path("gadget.joblib").write_bytes(pickle.dumps(Gadget()))
    if "sklearn:gadget.joblib" in words:
        pytest.importorskip("skops")
    code, out, err = run("compare", *words, *FEW)
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert not Path("mark").exists()


@pytest.mark.reference
def test_an_exported_program_asks_for_trust(run: Run, place: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval()
    torch.export.save(torch.export.export(network, (torch.rand(1, 1, 28, 28),)), "net.pt2")
    assert run("compare", "--model", "net.pt2", *FEW)[0] == 4
    code, out, _ = run("compare", "--model", "net.pt2", "--trust-model-code", *FEW)
    assert (code, json.loads(out)["verdict"]) == (0, "agree")


def test_a_manifest_runs_no_code(run: Run, place: Path) -> None:
    words = ("--model", "factory:mine.py:make", "--data", "fashion-mnist", "--limit", "4", "--out", "kept", "--mean", "0.5")
    assert run("attack", *words, "--std", "0.5")[0] == 0
    Path("mine.py").write_text(FACTORY + "\nimport os\nos.mkdir('mark')\n")
    code, _, err = run("attack", "--check", "kept")
    assert (code, "only the manifest names" in err) == (4, True)
    assert not Path("mark").exists()
    code, out, _ = run("attack", "--check", "kept", "--trust-model-code", "--json")
    assert (code, json.loads(out)["verdict"]) == (0, "verified")
    assert Path("mark").exists()
    assert run("attack", "--check", "kept", "--mean", "0.1")[0] == 2


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--model", "resnet50"], "--data must be named for resnet50"),
        (["--model", "mlp300", "--mean", "x"], "--mean must be numbers with commas between, got 'x'"),
        (["--model", "mlp300", "--bounds", "1"], "--bounds must be LOW,HIGH, or several LOW,HIGH"),
        (["--model", "mlp300", "--dataset", "cifar10"], "mlp300 takes no --dataset: leave it out"),
        (["--model", "mlp300", "--num-classes", "1"], "num classes must be an integer >= 2"),
    ],
)
def test_bad_settings_exit_2(run: Run, words: list[str], problem: str) -> None:
    code, out, err = run("evaluate", *words, "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert problem in err


def test_numbers_are_read() -> None:
    arguments = ModelOptions("mlp300").load_arguments()
    assert {name for name, value in arguments.items() if value} == {"weights", "device", "task"}
    found = ModelOptions("mlp300", mean="0.1,0.2", bounds="-1,1", num_classes=3).load_arguments()
    assert (found["mean"], found["bounds"], found["num_classes"]) == ((0.1, 0.2), (-1.0, 1.0), 3)
    with pytest.raises(SettingError):
        ModelOptions("mlp300", std="1,,2").load_arguments()
