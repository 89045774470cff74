"""Training on images of which some cannot be had, or are not what they should be, and from a state that was damaged."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import BadSample, Batch
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.runs.train import CheckpointStore
from robustbench_fgsm.training.loop import fit
from robustbench_fgsm.training.recipe import TrainingRecipe
from tests.training.conftest import untrained

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 32, "held_out": 0, "epsilon": 0.1}


class Damaged(rf.ArrayDataset):
    """The same images, of which those at some indices cannot be had."""

    def __init__(self, data: rf.ArrayDataset, lost: Sequence[int]) -> None:
        super().__init__("damaged", data._images, data.labels, data.classes)
        self.lost = set(lost)

    def take(self, indices: Sequence[int], size: int) -> Iterator[Batch]:
        for batch in super().take(indices, size):
            kept = torch.tensor([int(id_) not in self.lost for id_ in batch.ids], dtype=torch.bool)
            bad = tuple(BadSample(f"{int(id_)}.png", "cut short") for id_ in batch.ids[~kept])
            yield replace(batch.at(kept), bad=bad)


@pytest.fixture
def data(patterns: rf.ArrayDataset) -> rf.ArrayDataset:
    return patterns.head(128)


def test_counts_held_out_samples(data: rf.ArrayDataset) -> None:
    damaged = Damaged(data, range(20))
    found = rf.train(untrained(0), damaged, max_bad=20, **QUICK | {"held_out": 64})
    assert {sample.path for sample in found.bad} == {f"{index}.png" for index in range(20)}
    watched = found.checks[-1].clean
    assert watched is not None
    assert 44 < watched.n < 64
    assert found.n + watched.n + len(found.bad) == 128
    with pytest.raises(rf.InvalidRunError, match="20 that are not"):
        rf.train(untrained(0), damaged, max_bad=19, **QUICK | {"held_out": 64})


def test_resumed_training_remembers_them(data: rf.ArrayDataset, tmp_path: Path) -> None:
    damaged, out = Damaged(data, [3]), tmp_path / "run"
    found, again = (rf.train(untrained(0), damaged, out=out, max_bad=1, **QUICK) for _ in range(2))
    assert found.bad == again.bad == (BadSample("3.png", "cut short"),)
    assert found.n == again.n == 127


def test_resizes_images(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for height in range(6, 10):
            Image.new("RGB", (8, height)).save(tmp_path / "pets" / name / f"{height}.png")
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), 2, classes=("cat", "dog"))
    classifier.info = replace(classifier.info, preprocessing=Preprocessing.square(4))
    pets = rf.load_data(f"folder:{tmp_path / 'pets'}")
    assert rf.train(classifier, pets, out=tmp_path / "run", **QUICK | {"batch_size": 4}).n == 8


def test_rejects_an_empty_step(data: rf.ArrayDataset) -> None:
    with pytest.raises(rf.DataError, match="training needs an image in every step"):
        rf.train(untrained(0), Damaged(data.head(64), range(1, 64)), max_bad=63, **QUICK | {"batch_size": 2})


@pytest.mark.parametrize(("pixel", "message"), [(7.0, "images must lie in"), (float("nan"), "fix or leave out")])
@pytest.mark.parametrize("held_out", [0, 64])
def test_rejects_bad_pixels(data: rf.ArrayDataset, pixel: float, message: str, held_out: int) -> None:
    images = data._images.clone()
    images[5:] = pixel
    spoilt = rf.ArrayDataset("spoilt", images, data.labels, data.classes)
    with pytest.raises(rf.DataError, match=message):
        rf.train(untrained(0), spoilt, **QUICK | {"held_out": held_out})


@pytest.mark.parametrize("content", [b"", b"junk" * 100, None], ids=["empty", "junk", "cut"])
def test_rejects_a_damaged_state(data: rf.ArrayDataset, tmp_path: Path, content: bytes | None) -> None:
    recipe, store = TrainingRecipe(**QUICK), CheckpointStore(tmp_path)
    fit(untrained(0), data, recipe, store=store)
    whole = store.load()
    assert whole is not None
    store.save(whole[: len(whole) // 2] if content is None else content, [])
    with pytest.raises(rf.RunError, match="kept state of a training must be as it was written"):
        fit(untrained(0), data, recipe, store=store)


class Gadget:
    """A pickle that writes a file when it is read."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.place, "done")


def test_rejects_code_in_a_state(data: rf.ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    store = CheckpointStore(tmp_path)
    store.save(pickle.dumps({"network": Gadget(tmp_path / "done")}), [])
    with pytest.raises(rf.UnsafeError, match="tensors alone"):
        fit(untrained(0), data, TrainingRecipe(**QUICK), store=store)
    assert not (tmp_path / "done").exists()
