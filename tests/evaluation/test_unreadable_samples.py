"""Fault 8: a sample that cannot be read is counted and named wherever images are, and never silently leaves n."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.report.schemas import load_schema

BAD = 2


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Ten images in two classes; one more cut short, and one empty."""
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for index in range(5):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / label / f"{index}.png")
    whole = (tmp_path / "pets" / "cat" / "1.png").read_bytes()
    (tmp_path / "pets" / "cat" / "1b.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "pets" / "dog" / "9.png").write_bytes(b"")
    return tmp_path / "pets"


@pytest.fixture
def network() -> rf.TorchClassifier:
    return rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), 2)


def valid(document: dict[str, Any], name: str) -> bool:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(load_schema(name)).validate(document)
    return True


def check(document: dict[str, Any], place: Path, max_bad: int) -> None:
    assert document["bad"] == {
        "count": BAD,
        "paths": [str(place / "cat" / "1b.png"), str(place / "dog" / "9.png")],
        "reasons": document["bad"]["reasons"],
        "allowed": max_bad,
    }
    assert "truncated" in document["bad"]["reasons"][0]
    assert document["bad"]["reasons"][1] == "the file is empty"
    assert (document["n"], document["data"]["n"]) == (10, 12)
    told = document["warnings"] if max_bad >= BAD else document["invalid_reasons"]
    assert sum("2 images could not be read, first" in text for text in told) == 1
    assert (document["exit_code"], document["status"]) == ((0, "complete") if max_bad >= BAD else (1, "invalid"))


@pytest.mark.parametrize("max_bad", [0, 1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_evaluations(place: Path, network: rf.TorchClassifier, max_bad: int, batch_size: int) -> None:
    data = rf.load_data(f"folder:{place}")
    seen = []
    found = rf.evaluate(
        network, data, batch_size=batch_size, max_bad=max_bad, progress=lambda done, total: seen.append((done, total))
    )
    check(found.to_dict(), place, max_bad)
    assert valid(found.to_dict(), "evaluation")
    assert seen[-1][0] >= 11  # the last sample is a bad one, after which nothing was done


@pytest.mark.parametrize("max_bad", [0, 2])
def test_sweeps(place: Path, network: rf.TorchClassifier, max_bad: int) -> None:
    for found in rf.sweep(network, rf.load_data(f"folder:{place}"), targeted=["none", "next"], max_bad=max_bad):
        check(found.to_dict(), place, max_bad)


@pytest.mark.reference
@pytest.mark.parametrize("max_bad", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_comparisons(place: Path, network: rf.TorchClassifier, max_bad: int, batch_size: int) -> None:
    found = rf.compare(network, rf.load_data(f"folder:{place}"), batch_size=batch_size, max_bad=max_bad)
    assert found.verdict == "agree"
    check(found.to_dict(), place, max_bad)
    assert valid(found.to_dict(), "comparison")


@pytest.mark.parametrize("max_bad", [0, 2])
@pytest.mark.parametrize("format_", ["safetensors", "npz", "png"])
def test_saved_images(place: Path, network: rf.TorchClassifier, tmp_path: Path, max_bad: int, format_: str) -> None:
    data, out = rf.load_data(f"folder:{place}"), tmp_path / "out"
    saved = rf.save_adversarial(network, data, out, format=format_, shard_size=5, batch_size=2, max_bad=max_bad)
    check(saved.to_dict(), place, max_bad)
    assert valid(saved.to_dict(), "attack")
    assert [file["n"] for file in saved.files] == [4, 5, 1]
    assert saved.complete
    checked = rf.check_adversarial(out, network, data)
    assert checked.verified, checked.mismatches
    next(out.glob("adversarial-00001*")).rename(tmp_path / "gone")
    again = rf.save_adversarial(network, data, out, format=format_, shard_size=5, batch_size=2, max_bad=max_bad)
    document = json.loads((out / "manifest.json").read_text())
    assert (again.tally.n, again.bad, document["bad"]) == (saved.tally.n, saved.bad, saved.to_dict()["bad"])


@pytest.mark.parametrize("targeted", ["none", "next"])
@pytest.mark.parametrize("format_", ["safetensors", "npz", "png"])
def test_shard_of_bad_samples_is_empty(
    place: Path, network: rf.TorchClassifier, tmp_path: Path, format_: str, targeted: str
) -> None:
    data, out = rf.load_data(f"folder:{place}"), tmp_path / "out"
    settings: dict[str, Any] = {"format": format_, "targeted": targeted, "shard_size": 1, "max_bad": 2}
    saved = rf.save_adversarial(network, data, out, **settings)
    check(saved.to_dict(), place, 2)
    assert sorted(file["n"] for file in saved.files) == [0] * 2 + [1] * (len(data) - 2)
    assert rf.save_adversarial(network, data, out, **settings).to_dict() == saved.to_dict()
    checked = rf.check_adversarial(out, network, data)
    assert checked.verified, checked.mismatches
    assert checked.replay.n == saved.tally.n


def test_manifest_runs_no_factory(place: Path, network: rf.TorchClassifier, tmp_path: Path) -> None:
    """A file that somebody sent must not choose what is imported."""
    rf.save_adversarial(network, rf.load_data(f"folder:{place}"), tmp_path / "out", max_bad=2)
    for name in ("manifest.json", "result.json"):
        file = tmp_path / "out" / name
        file.write_text(file.read_text().replace(f"folder:{place}", "factory:evil:run"))
    with pytest.raises(rf.UnsafeError, match="check would run factory:evil:run"):
        rf.check_adversarial(tmp_path / "out", network)


def test_manifest_reloads_the_data(network: rf.TorchClassifier, place: Path, tmp_path: Path) -> None:
    data = rf.load_data(f"folder:{place}", image_size=8, sample=6, seed=3)
    rf.save_adversarial(network, data, tmp_path / "out", max_bad=2)
    checked = rf.check_adversarial(tmp_path / "out", network)
    assert checked.verified, checked.mismatches
