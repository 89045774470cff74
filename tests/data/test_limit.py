"""A part of the data is a sample of the data, whatever their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import Batch, describe_data
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.limit import choose_images, describe_sample, in_class_order, known_labels, sample_warnings
from robustbench_fgsm.data.sample_request import SampleRequest
from robustbench_fgsm.data.subset import dataset_labels
from robustbench_fgsm.data.torch_dataset import TorchImageSource
from robustbench_fgsm.errors import SettingError

BLOCKS = torch.arange(10).repeat_interleave(40)
ORDERS = {
    "sorted": BLOCKS,
    "reversed": BLOCKS.flip(0),
    "classes in another order": torch.tensor([3, 7, 1, 0, 9, 2, 8, 4, 6, 5]).repeat_interleave(40),
    "two sorted halves": torch.cat([BLOCKS[::2], BLOCKS[::2]]),
    "one rare class at the end": torch.cat([torch.arange(9).repeat(43), torch.full((13,), 9)]),
    "blocks of ten": torch.arange(10).repeat(4).repeat_interleave(10),
}


def data(labels: Tensor) -> rf.ArrayDataset:
    return rf.ArrayDataset("some", torch.rand(len(labels), 1, 2, 2), labels, tuple("abcdefghij"))


def count_classes(found: Any) -> int:
    return len({*dataset_labels(found).tolist()})


def choose(whole: Any, limit: int | None, sample: int | str = "auto", seed: int = 0) -> tuple[Any, str]:
    return choose_images(whole, SampleRequest.parse(limit, sample), seed)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", [10, 40, 100, 380])
def test_a_limit_on_data_in_class_order_draws_every_class(order: str, limit: int) -> None:
    labels = ORDERS[order]
    found, rule = choose(data(labels), limit)
    assert (rule, len(found)) == ("stratified", limit)
    exact = labels.bincount().double() * limit / len(labels)
    drawn = dataset_labels(found).bincount(minlength=10)
    assert bool((drawn >= 1).all())
    assert bool(((drawn - exact).abs() <= 1).all())
    assert describe_data(found)["sample"] == {"rule": "stratified", "size": limit, "of": 400, "seed": 0, "missing_classes": []}


@pytest.mark.parametrize("order", [name for name in ORDERS if name != "one rare class at the end"])
def test_fewer_images_than_classes_are_drawn_at_random(order: str) -> None:
    found, rule = choose(data(ORDERS[order]), 5)
    assert (rule, count_classes(found)) in {("random", count) for count in range(2, 6)}
    assert len(describe_data(found)["sample"]["missing_classes"]) == 10 - count_classes(found)


@pytest.mark.parametrize("limit", [7, 60, 200, 399])
def test_data_in_random_order_keep_their_first_images(limit: int) -> None:
    labels = torch.cat([torch.randperm(10, generator=torch.Generator().manual_seed(seed)) for seed in range(40)])
    found, rule = choose(data(labels), limit)
    assert (rule, dataset_labels(found).tolist()) == ("first", labels[:limit].tolist())
    assert "settings" not in describe_data(found)


def test_the_bundled_data_keep_their_first_images() -> None:
    whole = rf.load_data("fashion-mnist")
    for limit in (64, 1000):
        found = rf.load_data("fashion-mnist", limit=limit)
        assert next(iter(found)).ids.tolist() == list(range(min(limit, 128)))
        assert "sample" not in describe_data(found)
    assert not in_class_order(dataset_labels(whole))


def test_a_sample_depends_on_the_seed_alone() -> None:
    whole = data(BLOCKS)
    first, again, other = (choose(whole, 50, seed=seed)[0] for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    ids = torch.cat([batch.ids for batch in first]).tolist()
    assert ids == sorted(ids)
    assert torch.equal(BLOCKS[ids], dataset_labels(first))


def test_first_stays_possible_and_evaluate_names_the_missing_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "sorted.npz", images=np.random.default_rng(0).random((400, 1, 2, 2), np.float32), labels=BLOCKS.numpy())
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 10)), 10)
    found = rf.evaluate(classifier, rf.load_data(f"npz:{tmp_path / 'sorted.npz'}", limit=50, sample="first"))
    (warning,) = [text for text in found.warnings if "hold no image" in text]
    assert "the first 50 of 400 images hold no image of 2, 3, 4 and 5 more: pass --sample stratified" in warning
    entry = found.to_dict()["data"]
    assert entry["settings"] == {"sample": "first"}
    assert entry["sample"]["missing_classes"] == [str(label) for label in range(2, 10)]
    remedied = rf.evaluate(classifier, rf.load_data(f"npz:{tmp_path / 'sorted.npz'}", limit=50, sample="stratified"))
    assert not any("hold no image" in text for text in remedied.warnings)
    assert all(row["n"] == 5 for row in remedied.to_dict()["epsilons"][0]["per_class"])


@pytest.mark.parametrize("limit", [15, 40, 90])
def test_rare_classes_that_take_the_place_of_others_are_named(limit: int) -> None:
    labels = torch.cat([torch.zeros(400, dtype=torch.int64), torch.arange(10)])
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 10)), 10)
    found = choose(data(labels), limit)[0]
    (warning,) = [text for text in rf.evaluate(classifier, found).warnings if "each class has one" in text]
    exact, rare = 10 * limit / 410, int((dataset_labels(found) > 0).sum())
    moved = int(warning.partition(f" of the {limit} images")[0])
    assert rare - exact - 1 <= moved <= rare
    for remedied in (choose(data(labels), limit, "random")[0], choose(data(labels), 390)[0]):
        assert not any("each class has one" in text for text in rf.evaluate(classifier, remedied).warnings)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", [10, 40, 100, 380])
def test_fair_samples_give_no_warning(order: str, limit: int) -> None:
    assert sample_warnings(choose(data(ORDERS[order]), limit)[0]) == []


@pytest.mark.parametrize(
    ("setting", "wrong", "right"),
    [
        ("limit", "10", 10),
        ("limit", 10.0, np.int64(10)),
        ("limit", True, 1),
        ("limit", 0, None),
        ("sample", True, 1),
        ("sample", 2.5, np.int64(2)),
        ("sample", 0, "auto"),
        ("sample", "-3", "3"),
        ("seed", "a", 0),
        ("seed", -1, np.uint8(1)),
    ],
)
def test_numbers_of_images_are_integers(setting: str, wrong: Any, right: Any) -> None:
    with pytest.raises(SettingError, match=rf"{setting} must be an integer >= [01], got "):
        rf.load_data(data(BLOCKS), **{setting: wrong})
    assert len(rf.load_data(data(BLOCKS), **{setting: right})) >= 1


def test_folders_need_no_decoding(folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(("cat", "cow", "dog"))
    monkeypatch.setattr(ImageDataset, "batches", None)
    monkeypatch.setattr(ImageDataset, "take", None)
    found = rf.load_data(f"folder:{place}", limit=3)
    assert sorted(dataset_labels(found).tolist()) == [0, 1, 2]
    assert describe_sample(found) == f"3 of 9 images of folder:{place}, drawn each class in proportion with seed 0"
    assert found.fingerprint == rf.load_data(f"folder:{place}", limit=3).fingerprint


class NoTargets:
    """Torch data set in class order that does not list its labels."""

    def __init__(self, labels: Tensor) -> None:
        self.labels_by_index = labels
        self.read = 0

    def __len__(self) -> int:
        return len(self.labels_by_index)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.read += 1
        return torch.zeros(1, 2, 2), int(self.labels_by_index[index])


@pytest.mark.parametrize("order", ["sorted", "reversed"])
def test_unknown_labels_are_probed(order: str) -> None:
    source = NoTargets(ORDERS[order])
    whole = ImageDataset("own", TorchImageSource(source, "own"), tuple("abcdefghij"), workers=0)
    assert known_labels(whole) is None
    found, rule = choose(whole, 100)
    assert rule == "random"
    assert source.read <= 100
    assert count_classes(found) == 10
    assert describe_data(found)["sample"]["missing_classes"] is None


def test_unknown_labels_in_random_order_keep_the_first_images() -> None:
    labels = torch.randint(0, 10, (400,), generator=torch.Generator().manual_seed(0))
    whole = ImageDataset("own", TorchImageSource(NoTargets(labels), "own"), tuple("abcdefghij"), workers=0)
    assert choose(whole, 100)[1] == "first"


class Foreign:
    """Data set of another package: no labels, no random access."""

    name, classes, fingerprint = "foreign", tuple("abcdefghij"), "f" * 64

    def __len__(self) -> int:
        return len(BLOCKS)

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        for low in range(start, min(stop, len(self)), size):
            rows = torch.arange(low, min(low + size, stop, len(self)))
            yield Batch(torch.zeros(len(rows), 1, 2, 2), BLOCKS[rows], rows)

    def __iter__(self) -> Iterator[Batch]:
        return self.batches(0, len(self), 128)


def test_data_of_other_packages_are_probed() -> None:
    found, rule = choose(Foreign(), 100)
    assert (rule, len(found)) == ("random", 100)
    assert count_classes(found) == 10


@pytest.mark.parametrize("labels", [[], [0], [0, 0], [0, 1], [0, 0, 1, 1], [1, 0, 1, 0, 1, 0]])
def test_a_few_labels_have_no_order(labels: list[int]) -> None:
    assert not in_class_order(torch.tensor(labels, dtype=torch.int64))


@pytest.mark.parametrize("stop", [8, 100, 360])
def test_images_cut_from_data_in_class_order_are_named(stop: int) -> None:
    """A user's own prefix, such as x[:100] or the first items of a stream, is seen by its labels."""
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 10)), 10)
    x = torch.rand(len(BLOCKS), 1, 2, 2)
    found = rf.evaluate(classifier, (x[:stop], BLOCKS[:stop]))
    assert any("in class order and hold none of" in text for text in found.warnings)
    stream = rf.load_data(iter([(x[at], int(BLOCKS[at])) for at in range(stop)]), limit=stop)
    assert any("in class order and hold none of" in text for text in rf.evaluate(classifier, stream).warnings)
    whole = rf.load_data((x, BLOCKS), limit=max(stop, 10))
    assert not any("in class order" in text for text in rf.evaluate(classifier, whole).warnings)


@pytest.mark.parametrize("name", ["all classes", "random order", "one class", "few images"])
def test_other_images_are_not_taken_for_a_prefix(name: str) -> None:
    labels = {
        "all classes": torch.arange(10),
        "random order": torch.randint(0, 5, (64,), generator=torch.Generator().manual_seed(0)),
        "one class": torch.full((20,), 7),
        "few images": torch.zeros(4, dtype=torch.int64),
    }[name]
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 10)), 10)
    found = rf.evaluate(classifier, (torch.rand(len(labels), 1, 2, 2), labels))
    assert not any("in class order" in text for text in found.warnings)
