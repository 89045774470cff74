"""Data of every kind through the program, and what becomes of data that are not as they should be."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.cli.options import DataOptions

Run = Callable[..., tuple[int, str, str]]


class Colours(nn.Module):
    """Ten classes by average colour, for images of any size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


@pytest.fixture
def load_instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[rf.TorchClassifier], None]:
    """Have every name be that classifier."""

    def load(classifier: rf.TorchClassifier) -> None:
        for module in ("cli.find_normalisation", "models.load"):  # in this order, or the first keeps the replacement
            monkeypatch.setattr(f"robustbench_fgsm.{module}.load_classifier", lambda *_, **__: classifier)

    return load


@pytest.fixture
def colours(load_instead: Callable[[rf.TorchClassifier], None]) -> None:
    load_instead(rf.wrap(Colours(), 10))


def pictures(kind: str, place: Path) -> Path:
    """The 20 images of a kind that the foolbox package ships, as a folder."""
    spec = importlib.util.find_spec("foolbox")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("foolbox is not installed")
    files = sorted((Path(spec.submodule_search_locations[0]) / "data").glob(f"{kind}_*"))
    assert len(files) == 20
    for file in files:
        label = file.stem.rpartition("_")[2]
        (place / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / label / file.name)
    return place


def document(run: Run, *words: str) -> dict[str, Any]:
    code, out, err = run(*words, "--json", "--quiet")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.usefixtures("colours")
@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_cifar_images_from_a_folder(run: Run, tmp_path: Path, command: str) -> None:
    spec = f"folder:{pictures('cifar10', tmp_path / 'images')}"
    found = document(run, command, "--model", "resnet50", "--data", spec, "--class-map", "numbers")
    assert (found["n"], found["bad"]["count"], len(found["data"]["classes"])) == (20, 0, 10)
    assert found.get("verdict", "agree") == "agree"


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_mnist_images_from_a_folder(
    run: Run, tmp_path: Path, command: str, load_instead: Callable[[rf.TorchClassifier], None]
) -> None:
    torch.manual_seed(0)
    load_instead(rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 10))
    spec = f"folder:{pictures('mnist', tmp_path / 'images')}"
    found = document(run, command, "--model", "resnet50", "--data", spec, "--class-map", "numbers")
    assert found["n"] == 20
    assert found.get("verdict", "agree") == "agree"


@pytest.mark.reference
@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_imagenet_images_from_a_folder(
    run: Run, tmp_path: Path, command: str, load_instead: Callable[[rf.TorchClassifier], None]
) -> None:
    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1(weights=None)
    load_instead(rf.wrap(network, 1000, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)))
    spec = f"folder:{pictures('imagenet', tmp_path / 'images')}"
    words = ["--model", "resnet50", "--data", spec, "--class-map", "numbers", "--image-size", "64", "--batch-size", "10"]
    found = document(run, command, *words)
    assert (found["n"], len(found["data"]["classes"])) == (20, 1000)
    assert found["data"]["settings"] == {"class_map": "numbers", "image_size": 64}
    assert found.get("verdict", "agree") == "agree"


def broken(place: Path) -> str:
    """A folder of ten classes with an image of each, one cut short and one empty one more."""
    random = np.random.default_rng(0)
    for label in range(10):
        (place / str(label)).mkdir(parents=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place / str(label) / "a.png")
    (place / "3" / "cut.png").write_bytes((place / "3" / "a.png").read_bytes()[:-60])
    (place / "4" / "empty.png").write_bytes(b"")
    return f"folder:{place}"


@pytest.mark.usefixtures("colours")
@pytest.mark.parametrize("command", [["evaluate"], ["sweep", "--eps", "1,2/255"], ["compare"], ["attack", "--out", "out"]])
@pytest.mark.parametrize(("allowed", "expected"), [(0, 1), (1, 1), (2, 0)])
def test_bad_samples_exit_1_unless_allowed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], allowed: int, expected: int
) -> None:
    """Fault 8."""
    monkeypatch.chdir(tmp_path)
    spec = broken(tmp_path / "images")
    code, out, err = run(*command, "--model", "resnet50", "--data", spec, "--max-bad", str(allowed), "--json", "--quiet")
    assert (code, err) == (expected, "")
    found = json.loads(out)
    found = found["evaluations"][0] if "evaluations" in found else found
    assert (found["n"], found["bad"]["count"], found["exit_code"]) == (10, 2, expected)
    assert [Path(path).name for path in found["bad"]["paths"]] == ["cut.png", "empty.png"]
    text = " ".join(run(*command, "--model", "resnet50", "--data", spec, "--max-bad", str(allowed), "--quiet")[1].split())
    assert "2 images could not be read" in text


@pytest.mark.usefixtures("colours")
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.full((12, 3, 8, 8), np.nan, np.float32)}, "got [nan, nan]: fix or leave out"),
        ({"images": np.full((12, 3, 8, 8), 200.0, np.float32)}, "pass images / 255"),
        ({"images": np.full((12, 3, 8, 8), -1.5, np.float32)}, "got [-1.5, -1.5], perhaps of normalised images"),
        ({"images": np.zeros((12, 1, 8, 8), np.uint8)}, "model must accept images of shape (1, 8, 8)"),
        ({"images": np.zeros((12, 3, 8, 8), np.int32)}, "got int32 of shape"),
        ({"labels": np.full(12, 10)}, "they count classes from 1, so pass --labels-from 1"),
        ({"labels": np.full(12, -1)}, "must have labels from 0, got -1"),
    ],
)
def test_invalid_arrays_exit_2(run: Run, tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    """Faults 10 and 11."""
    whole: dict[str, Any] = {"images": np.zeros((12, 3, 8, 8), np.uint8), "labels": np.arange(12) % 10}
    np.savez(tmp_path / "data.npz", **whole | arrays)
    code, out, err = run("evaluate", "--model", "resnet50", "--data", f"npz:{tmp_path / 'data.npz'}", "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_classes_in_another_order_exit_2(run: Run, tmp_path: Path, load_instead: Callable[[rf.TorchClassifier], None]) -> None:
    """Fault 10."""
    load_instead(rf.wrap(Colours(), 10, classes=[f"c{k}" for k in range(9, -1, -1)]))
    for label in range(10):
        (tmp_path / f"c{label}").mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / f"c{label}" / "a.png")
    code, _, err = run("evaluate", "--model", "resnet50", "--data", f"folder:{tmp_path}", "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert """got 'c0' where the model has 'c9': pass --class-map FILE, such as {"0": ["c0", "c9"], ...}""" in err


@pytest.mark.usefixtures("colours")
def test_strict_exits_2_for_a_warning(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=np.ones((12, 3, 8, 8), np.uint8), labels=np.arange(12) % 10)
    words = ["evaluate", "--model", "resnet50", "--data", f"npz:{tmp_path / 'data.npz'}", "--quiet"]
    assert "divided by 255 twice" in " ".join(run(*words)[1].split())
    code, out, err = run(*words, "--strict")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "strict takes warnings for errors" in err


def test_refused_data_exit_4(run: Run) -> None:
    code, out, err = run("evaluate", "--model", "mlp300", "--data", "wds:pipe:touch x", "--quiet")
    assert (code, out) == (4, "")
    assert "pipe: would run a program" in err


def test_a_sample_matches_the_library(run: Run) -> None:
    words = ["--sample", "40", "--stratified", "--seed", "3"]
    found = document(run, "evaluate", "--model", "mlp300", *words)
    images = rf.load_data("fashion-mnist", sample=40, stratified=True, seed=3)
    assert found["data"]["fingerprint"] == images.fingerprint
    assert [row["n"] for row in found["epsilons"][0]["per_class"]] == [4] * 10
    evaluation = rf.evaluate(rf.load_classifier("mlp300"), images, seed=3)
    assert found["epsilons"] == json.loads(json.dumps(evaluation.to_dict()))["epsilons"]


def test_refuses_options_that_contradict_a_manifest(run: Run, tmp_path: Path) -> None:
    code, _, err = run("attack", "--check", str(tmp_path), "--split", "train", "--max-bad", "1")
    assert code == 2
    assert "got --split, --max-bad: leave them out" in err


@pytest.mark.parametrize("command", ["evaluate", "sweep", "compare", "attack"])
def test_every_command_has_every_option(run: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run(command, "--help")
    assert code == 0
    assert {f"--{name.replace('_', '-')}" for name in vars(DataOptions())} <= set(out.split())


def test_a_limit_on_data_in_class_order_is_a_sample(run: Run, tmp_path: Path) -> None:
    """The note, the document and the run directory say which images were measured, and a second call continues there."""
    whole = next(rf.load_data("fashion-mnist").batches(0, 600, 600))
    order = whole.labels.argsort(stable=True)
    np.savez(tmp_path / "sorted.npz", images=whole.images[order].numpy(), labels=whole.labels[order].numpy())
    words = ["evaluate", "--model", "mlp300", "--weights", "standard", "--data", f"npz:{tmp_path / 'sorted.npz'}"]
    words += ["--limit", "50", "--json"]
    code, out, err = run(*words, "--out", str(tmp_path / "run"))
    found = json.loads(out)
    assert (code, "50 of 600 images of npz:" in err, "drawn each class in proportion with seed 0" in err) == (0, True, True)
    assert [row["n"] for row in found["epsilons"][0]["per_class"]] != [50] + 9 * [0]
    assert all(row["n"] for row in found["epsilons"][0]["per_class"])
    assert found["data"]["sample"] == {"rule": "stratified", "size": 50, "of": 600, "seed": 0, "missing_classes": []}
    assert json.loads(run(*words, "--out", str(tmp_path / "run"))[1])["data"] == found["data"]
    code, _, err = run(*words, "--sample", "first", "--out", str(tmp_path / "run"))
    assert (code, "stratified" in err) == (2, True)
    code, out, err = run(*words, "--sample", "first")
    assert any("hold no image of 1, 2, 3 and 6 more" in text for text in json.loads(out)["warnings"])
    assert run(*words, "--sample", "first", "--strict")[0] == 2
