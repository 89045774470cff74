"""Settings of a benchmark, its tasks, its progress, and unreadable images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import robustbench_fgsm as rf
from robustbench_fgsm.benchmarking.benchmark import choose_references, timed_tasks, use_threads
from robustbench_fgsm.benchmarking.timing import TimedTask

EPSILONS = (4 / 255, 8 / 255)


def run(classifier: rf.Classifier, data: rf.Dataset, **settings: Any) -> rf.Benchmark:
    quick: dict[str, Any] = {"references": [], "levels": ["none"], "rounds": 1, "memory": False}
    return rf.benchmark(classifier, data, EPSILONS, **(quick | settings))


def test_times_one_epsilon_one_time() -> None:
    assert timed_tasks((0.1,)) == [TimedTask("attack", (0.1,)), TimedTask("job", (0.1,))]
    assert [task.epsilons for task in timed_tasks((0.2, 0.1))] == [(0.2,), (0.2,), (0.2, 0.1), (0.2, 0.1)]


@pytest.mark.reference
def test_keeps_the_order_of_references() -> None:
    present, absent = choose_references(["foolbox", " art"])
    assert ([one.name for one in present], absent) == (["foolbox", "art"], [])
    with pytest.raises(rf.SettingError, match="did you mean art"):
        choose_references(["arty"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "1"}, "for norm inf or 2"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"levels": ["most"]}, "optimize must be one of none, safe, max, got 'most'"),
        ({"levels": []}, "optimize must be one of none, safe, max, got ''"),
        ({"references": ["arty"]}, "did you mean art"),
        ({"batch_size": 0}, "batch size must be"),
    ],
)
def test_rejects_bad_settings(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(rf.SettingError, match=message):
        run(classifier, images, **settings)


def test_rejects_repeated_epsilons(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with pytest.raises(rf.SettingError, match="all different"):
        rf.benchmark(classifier, images, "8,8/255")


def test_rejects_other_classifiers(images: rf.ArrayDataset) -> None:
    class Other:
        bounds = (0.0, 1.0)

    with pytest.raises(rf.ModelError, match="must be a classifier, a torch module or an ART estimator, got Other"):
        rf.benchmark(Other(), images)  # type: ignore[arg-type]


def test_unreadable_images_are_invalid(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    class Holey(rf.ArrayDataset):
        def _batch(self, rows: slice | Tensor, ids: Tensor) -> rf.Batch:
            found = super()._batch(rows, ids)
            lost = rf.BadSample("first.png", "broken")
            return rf.Batch(found.images[1:], found.labels[1:], found.ids[1:], (lost,)) if 0 in ids else found

    some = next(images.batches(0, 32, 32))
    data = Holey("holey", some.images, some.labels, images.classes)
    document = run(classifier, data).to_dict()
    assert (document["n"], document["bad"]["count"], document["exit_code"]) == (31, 1, 1)
    allowed = run(classifier, data, max_bad=1)
    assert (allowed.exit_code, len(allowed.warnings)) == (0, 1)


def test_restores_threads() -> None:
    before = torch.get_num_threads()
    with use_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with use_threads(None):
        assert torch.get_num_threads() == before


def test_progress_counts_every_step(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    calls: list[tuple[int, int]] = []
    run(classifier, images, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(step, 3 * 4 * 2) for step in range(1, 25)]


@pytest.mark.gpu
def test_gpu_memory(images: rf.ArrayDataset) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    document = run(rf.load_classifier("smallcnn", device="cuda"), images, memory=True).to_dict()
    assert document["environment"]["device"] == torch.cuda.get_device_name(0)
    for contender in document["contenders"]:
        assert contender["error"] is None
        assert contender["memory"]["above"] > 0
        assert contender["max_count_difference"] <= 2
