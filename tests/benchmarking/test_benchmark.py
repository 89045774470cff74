"""A benchmark lists all who take part, what each counted and how long it took, and who is absent or failed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import robustbench_fgsm as rf
from robustbench_fgsm.benchmarking import benchmark as module
from robustbench_fgsm.benchmarking.bare_loop import BareLoop, BareResult
from robustbench_fgsm.benchmarking.benchmark import choose_references, timed_tasks, use_threads
from robustbench_fgsm.benchmarking.contenders import (
    BARE_LOOP_LAYOUTS,
    Contender,
    OurImplementation,
    ReferenceImplementation,
    list_contenders,
)
from robustbench_fgsm.benchmarking.timing import TimedTask
from robustbench_fgsm.references.registry import load_reference
from robustbench_fgsm.registry import Registry, RegistryEntry
from robustbench_fgsm.spec import AttackSpec, BenchmarkOptions

EPSILONS = (4 / 255, 8 / 255)
SPEC = AttackSpec(EPSILONS)


@pytest.fixture(scope="module")
def convolutional() -> rf.TorchClassifier:
    found = rf.load_classifier("smallcnn", device="cpu")
    assert isinstance(found, rf.TorchClassifier)
    return found


@pytest.fixture(scope="module")
def few() -> rf.Dataset:
    return rf.load_data("fashion-mnist", limit=100)


@pytest.fixture(scope="module")
def expected(convolutional: rf.TorchClassifier, few: rf.Dataset) -> BareResult:
    """What `evaluate` says at each budget."""
    found = [rf.evaluate(convolutional, few, epsilon) for epsilon in EPSILONS]
    return BareResult(100, found[0].clean_accuracy.count, tuple(one.tallies[0].robust_accuracy.count for one in found))


def run(classifier: rf.Classifier, data: rf.Dataset, **settings: Any) -> rf.Benchmark:
    quick: dict[str, Any] = {"references": [], "levels": ["none"], "rounds": 1, "memory": False}
    return rf.benchmark(classifier, data, EPSILONS, **(quick | settings))


@pytest.mark.parametrize("which", BARE_LOOP_LAYOUTS)
def test_the_bare_loop_counts_what_evaluate_counts(
    convolutional: rf.TorchClassifier, few: rf.Dataset, expected: BareResult, which: str
) -> None:
    loop = Contender("bare", which).make_implementation(convolutional, few, SPEC, 32)
    assert isinstance(loop, BareLoop)
    assert loop.job(few, EPSILONS) == expected
    assert loop.attack(few, EPSILONS) == 200
    assert not any(parameter.requires_grad for parameter in loop.network.parameters())


def test_the_bare_loop_makes_one_gradient_a_batch_and_one_forward_more_for_each_budget(
    convolutional: rf.TorchClassifier, few: rf.Dataset
) -> None:
    loop = Contender("bare", "channels-last").make_implementation(convolutional, few, SPEC, 50)
    assert isinstance(loop, BareLoop)
    gradients: list[bool] = []
    loop.network.register_forward_hook(lambda network, x, outputs: gradients.append(outputs.requires_grad))
    loop.job(few, EPSILONS)
    assert gradients == [True, False, False] * 2


@pytest.mark.parametrize(("norm", "epsilon"), [("inf", 8 / 255), ("2", 1.0)])
def test_the_bare_loop_takes_our_step(convolutional: rf.TorchClassifier, few: rf.Dataset, norm: str, epsilon: float) -> None:
    spec = AttackSpec((epsilon,), float(norm))
    loop = Contender("bare", "default").make_implementation(convolutional, few, spec, 64)
    assert isinstance(loop, BareLoop)
    batch = next(few.batches(0, 64, 64))
    _, direction = loop._predictions_and_direction(batch.images, batch.labels)
    ours = rf.fgsm(convolutional, batch.images, batch.labels, epsilon, norm=norm)
    assert torch.allclose(loop._step(batch.images, direction, epsilon), ours, atol=1e-6)


def test_the_images_of_the_data_are_left_alone(convolutional: rf.TorchClassifier) -> None:
    stored = torch.rand(8, 1, 28, 28)
    data = rf.ArrayDataset("floats", stored, torch.zeros(8, dtype=torch.int64), convolutional.classes or ())
    before = stored.clone()
    Contender("bare", "default").make_implementation(convolutional, data, SPEC, 4).job(data, EPSILONS)
    assert torch.equal(stored, before)
    assert not stored.requires_grad


@pytest.mark.parametrize("level", BenchmarkOptions.levels)
def test_ours_counts_what_evaluate_counts(
    convolutional: rf.TorchClassifier, few: rf.Dataset, expected: BareResult, level: str
) -> None:
    ours = Contender("ours", level).make_implementation(convolutional, few, SPEC, 32)
    assert isinstance(ours, OurImplementation)
    assert ours.execution.plan.level == level
    assert ours.job(few, EPSILONS) == expected
    assert ours.attack(few, EPSILONS) == 200


@pytest.mark.reference
@pytest.mark.parametrize("name", ["art", "foolbox"])
def test_references_count_what_evaluate_counts(
    convolutional: rf.TorchClassifier, few: rf.Dataset, expected: BareResult, name: str
) -> None:
    library = Contender("reference", name).make_implementation(convolutional, few, SPEC, 32)
    assert isinstance(library, ReferenceImplementation)
    assert library.job(few, EPSILONS) == expected
    assert library.attack(few, EPSILONS) == 200
    assert library.version == load_reference(name, convolutional, SPEC, 32).version


def test_the_document_has_a_row_for_each(convolutional: rf.TorchClassifier, few: rf.Dataset, expected: BareResult) -> None:
    found = run(convolutional, few, rounds=2)
    document = found.to_dict()
    assert [one["name"] for one in document["contenders"]] == ["bare channels-last", "bare default", "ours none"]
    assert (document["unit"], document["n"], document["rounds"]) == ("bare channels-last", 100, 2)
    assert (document["status"], document["exit_code"], document["warnings"]) == ("complete", 0, [])
    for contender in document["contenders"]:
        assert contender["clean_accuracy"]["count"] == expected.clean_correct
        assert [at["robust_accuracy"]["count"] for at in contender["epsilons"]] == list(expected.robust_correct)
        assert contender["max_count_difference"] == 0
        tasks = [(timing["task"], timing["epsilons"]) for timing in contender["timings"]]
        assert tasks == [(kind, some) for some in ([8 / 255], list(EPSILONS)) for kind in ("attack", "job")]
    unit = document["contenders"][0]["timings"]
    assert all(timing["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0} for timing in unit)
    assert {"processor", "cores", "threads"} <= set(document["environment"])


def test_one_budget_is_timed_once() -> None:
    assert timed_tasks((0.1,)) == [TimedTask("attack", (0.1,)), TimedTask("job", (0.1,))]
    assert [task.epsilons for task in timed_tasks((0.2, 0.1))] == [(0.2,), (0.2,), (0.2, 0.1), (0.2, 0.1)]


def test_a_network_of_one_layout_is_measured_by_the_default_one(convolutional: rf.TorchClassifier) -> None:
    fixed = copy.copy(convolutional)
    fixed.has_variants = False
    assert list_contenders(fixed, ["none"], []) == [Contender("bare", "default"), Contender("ours", "none")]


def test_absent_references_are_listed_with_how_to_install_them(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = RegistryEntry("foolbox", "", "foolbox", "no-such-package")
    monkeypatch.setattr(module, "REFERENCES", Registry("references", "prepare", rf.SettingError, {"foolbox": absent}))
    document = run(classifier, images, references=None).to_dict()
    assert document["absent"] == [{"name": "foolbox", "package": "no-such-package", "install": "pip install no-such-package"}]
    assert [one["kind"] for one in document["contenders"]] == ["bare", "bare", "ours"]


@pytest.mark.reference
def test_references_in_the_order_in_which_they_are_named() -> None:
    present, absent = choose_references(["foolbox", " art"])
    assert ([one.name for one in present], absent) == (["foolbox", "art"], [])
    with pytest.raises(rf.SettingError, match="did you mean art"):
        choose_references(["arty"])


@pytest.mark.reference
def test_a_reference_that_cannot_do_it_is_reported_and_the_rest_goes_on(
    convolutional: rf.TorchClassifier, few: rf.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ReferenceImplementation, data: rf.Dataset, epsilons: tuple[float, ...]) -> BareResult:
        raise RuntimeError("no luck\ntoday")

    monkeypatch.setattr(ReferenceImplementation, "job", broken)
    found = run(convolutional, few, references=["art"])
    document = found.to_dict()
    assert (document["exit_code"], document["status"]) == (0, "complete")
    failed = document["contenders"][-1]
    assert (failed["name"], failed["error"]) == ("art", "RuntimeError: no luck today")
    assert (failed["clean_accuracy"], failed["epsilons"], failed["max_count_difference"]) == (None, [], None)
    assert all(timing["seconds"] is None and timing["ratio"] is None for timing in failed["timings"])
    assert all(timing["ratio"] for timing in document["contenders"][2]["timings"])


@pytest.mark.reference
def test_a_reference_that_cannot_be_made_has_failed(convolutional: rf.TorchClassifier, few: rf.Dataset) -> None:
    pytest.importorskip("torchattacks")
    found = rf.benchmark(convolutional, few, [1.0], norm=2, references=["torchattacks"], rounds=1, memory=False).to_dict()
    assert "torchattacks is comparable under norm inf, got 2" in found["contenders"][-1]["error"]
    assert found["contenders"][-1]["version"] == ""


def test_our_own_failure_makes_the_run_invalid(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: OurImplementation, data: rf.Dataset, epsilons: tuple[float, ...]) -> BareResult:
        raise RuntimeError("no luck")

    monkeypatch.setattr(OurImplementation, "job", broken)
    document = run(classifier, images).to_dict()
    assert (document["exit_code"], document["status"]) == (1, "invalid")
    assert document["invalid_reasons"] == ["ours none failed: RuntimeError: no luck"]


def test_a_wrong_answer_is_warned_of(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unmoved(self: OurImplementation, data: rf.Dataset, epsilons: tuple[float, ...]) -> BareResult:
        return BareResult(256, 0, (0,) * len(epsilons))

    monkeypatch.setattr(OurImplementation, "job", unmoved)
    found = run(classifier, images)
    assert found.exit_code == 0
    (warning,) = found.warnings
    assert warning.startswith("ours none does not compute the same: its counts are up to ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "1"}, "for norm inf or 2"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"levels": ["most"]}, "optimize must be one of none, safe, max, bf16, got 'most'"),
        ({"levels": []}, "optimize must be one of none, safe, max, bf16, got ''"),
        ({"references": ["arty"]}, "did you mean art"),
        ({"batch_size": 0}, "batch size must be"),
    ],
)
def test_bad_settings_are_refused(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(rf.SettingError, match=message):
        run(classifier, images, **settings)


def test_repeated_budgets_are_refused(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with pytest.raises(rf.SettingError, match="all different"):
        rf.benchmark(classifier, images, "8,8/255")


def test_another_classifier_than_a_torch_network_is_refused(images: rf.ArrayDataset) -> None:
    class Other:
        bounds = (0.0, 1.0)

    with pytest.raises(rf.ModelError, match="needs a PyTorch network, got Other"):
        rf.benchmark(Other(), images)  # type: ignore[arg-type]


def test_images_that_cannot_be_read_make_it_invalid(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
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


def test_threads_are_as_before_afterwards() -> None:
    before = torch.get_num_threads()
    with use_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with use_threads(None):
        assert torch.get_num_threads() == before


def test_progress_counts_every_step(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    seen: list[tuple[int, int]] = []
    run(classifier, images, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(step, 3 * 4 * 2) for step in range(1, 25)]


@pytest.mark.gpu
def test_on_a_gpu_memory_is_that_of_the_card(images: rf.ArrayDataset) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    document = run(rf.load_classifier("smallcnn", device="cuda"), images, memory=True).to_dict()
    assert document["environment"]["device"] == torch.cuda.get_device_name(0)
    for contender in document["contenders"]:
        assert contender["error"] is None
        assert contender["memory"]["above"] > 0
        assert contender["max_count_difference"] <= 2
