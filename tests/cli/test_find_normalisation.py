"""The first command that names a checkpoint of Lightning and a directory of images gives a number."""

from __future__ import annotations

import gc
import json
import re
import shlex
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import resnet18

from robustbench_fgsm.cli import find_normalisation
from robustbench_fgsm.models.load import load_classifier

Run = Callable[..., tuple[int, str, str]]

README = Path(__file__).parents[2] / "README.md"
MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
CLASSES = ("bird", "cat", "dog", "fish", "horse")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of five colours in train/ and val/."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    colours = generator.uniform(60, 200, (5, 3))
    for split, count in (("train", 12), ("val", 8)):
        for name, colour in zip(CLASSES, colours, strict=True):
            place = tmp_path / "photos" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(colour + generator.normal(0, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return tmp_path / "photos"


def images(place: Path) -> tuple[torch.Tensor, torch.Tensor]:
    files = [(file, label) for label, name in enumerate(CLASSES) for file in sorted((place / name).glob("*.png"))]
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(file))) for file, _ in files])
    return pixels.permute(0, 3, 1, 2) / 255, torch.tensor([label for _, label in files])


@pytest.fixture
def checkpoint(photos: Path) -> Path:
    """A checkpoint of Lightning, whose last layer is fitted to images that are normalised by ImageNet's statistics."""
    torch.manual_seed(0)
    network = resnet18(num_classes=5).eval()
    x, y = images(photos / "train")
    body = torch.nn.Sequential(*list(network.children())[:-1], torch.nn.Flatten())
    with torch.no_grad():
        features = torch.cat([body((x - MEAN) / STD), torch.ones(len(x), 1)], dim=1).double()
        targets = 10 * torch.nn.functional.one_hot(y).double()
        weights = torch.linalg.lstsq(features, targets, driver="gelsd", rcond=1e-6).solution.float()
        network.fc.weight.copy_(weights[:-1].T)
        network.fc.bias.copy_(weights[-1])
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, "global_step": 9, "pytorch-lightning_version": "2.4.0", "state_dict": state}, "best.ckpt")
    return Path("best.ckpt")


def readme_command() -> list[str]:
    (line,) = re.findall(r"^\$ rfgsm (evaluate resnet18 .*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    return shlex.split(line)


@pytest.mark.usefixtures("checkpoint")
def test_the_command_of_the_readme(run: Run) -> None:
    code, out, err = run(*readme_command(), "--json", "--quiet")
    assert code == 0, err
    document = json.loads(out)
    assert (document["n"], document["data"]["classes"]) == (40, list(CLASSES))
    assert document["clean"]["accuracy"]["value"] > 0.9
    assert document["model"]["settings"]["mean"] == [0.485, 0.456, 0.406]
    assert "Warning: --mean and --std were not given: took ImageNet's" in err
    code, out, err = run("runs", "resume", "results/mine", "--json")
    assert (code, json.loads(out)["n"]) == (0, 40), err


@pytest.mark.usefixtures("checkpoint")
def test_says_which_split_it_took(run: Run) -> None:
    err = run(*readme_command(), "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")[2]
    assert "photos holds train and val: took --split val" in err
    assert "Warning" not in err


def test_no_normalisation_fits_a_random_network(run: Run, photos: Path) -> None:
    torch.manual_seed(1)
    torch.save(resnet18(num_classes=5).state_dict(), "random.pt")
    code, _, err = run("evaluate", "resnet18", "--weights", "random.pt", "--data", str(photos), "--quiet")
    assert code == 2
    assert "no usual one fits the images: pass --mean and --std" in err


@pytest.mark.usefixtures("checkpoint")
def test_looks_for_statistics_in_the_units_of_the_bounds(run: Run) -> None:
    code, out, err = run(*readme_command(), "--bounds", "0,255", "--json", "--quiet")
    document = json.loads(out)
    assert (code, document["model"]["settings"]["mean"]) == (0, [123.675, 116.28, 103.53]), err
    assert document["clean"]["accuracy"]["value"] > 0.9
    assert "took ImageNet's --mean 123.675,116.28,103.53" in err


@pytest.mark.parametrize("given", [("--mean", "0.3"), ("--std", "0.3")])
@pytest.mark.usefixtures("checkpoint")
def test_keeps_what_was_given(run: Run, given: tuple[str, str]) -> None:
    code, _, err = run(*readme_command(), *given, "--quiet")
    assert code == 2
    assert "pass --mean and --std" in err


def test_needs_more_than_the_largest_class(run: Run, photos: Path) -> None:
    """A network that always names the largest class is right on two thirds of the images, under any statistics."""
    for name in CLASSES[1:]:
        for file in sorted((photos / "val" / name).glob("*.png"))[1:]:
            file.unlink()
    network = resnet18(num_classes=5)
    with torch.no_grad():
        network.fc.weight.zero_()
        network.fc.bias.copy_(torch.eye(5)[0])
    torch.save(network.state_dict(), "constant.pt")
    code, _, err = run("evaluate", "resnet18", "--weights", "constant.pt", "--data", str(photos), "--quiet")
    assert code == 2
    assert "no usual one fits the images" in err


@pytest.mark.usefixtures("checkpoint")
def test_keeps_one_network_at_a_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large network is tried eleven times, and fits into memory once."""
    alive: list[weakref.ref[object]] = []
    most = 0

    def load(*arguments: object, **settings: object) -> object:
        nonlocal most
        gc.collect()
        most = max(most, sum(one() is not None for one in alive))
        classifier = load_classifier(*arguments, **settings)  # type: ignore[arg-type]
        alive.append(weakref.ref(classifier))
        return classifier

    monkeypatch.setattr(find_normalisation, "load_classifier", load)
    assert run(*readme_command(), "--quiet")[0] == 0
    assert len(alive) > 5
    assert most <= 1
