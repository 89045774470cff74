"""How a run is planned, what the plan does, and that it is recorded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.attack.losses import get_loss
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine import plan
from robustbench_fgsm.engine.plan import Plan, apply_plan, choose_plan, measure_attack_seconds
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.models.classifier import Classifier, move_to_classifier
from robustbench_fgsm.options import RunOptions
from robustbench_fgsm.spec import AttackSpec

Clock = Callable[[Classifier, Batch, AttackSpec, tuple[str, ...]], float]


@pytest.fixture(autouse=True)
def _nothing_measured_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MEASURED_FORMATS", {})


@pytest.fixture(scope="module")
def network() -> rf.TorchClassifier:
    found = rf.load_classifier("smallcnn", device="cpu")
    assert isinstance(found, rf.TorchClassifier)
    return found


def clock(contiguous: float, channels_last: float) -> Clock:
    """A clock that shows what it is told."""

    def seconds(classifier: Classifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...]) -> float:
        layout = getattr(classifier, "memory_format", None)
        return channels_last if layout == torch.channels_last else contiguous

    return seconds


SLOW, FAST = clock(1.0, 1.0), clock(1.0, 0.5)


@pytest.mark.parametrize(
    ("timer", "level", "layout"),
    [
        (SLOW, "safe", "contiguous"),
        (SLOW, "max", "contiguous"),
        (clock(1.0, 0.99), "safe", "contiguous"),  # what is in doubt would add to it
        (clock(1.0, 0.99), "max", "channels_last"),
        (FAST, "safe", "channels_last"),
        (FAST, "max", "channels_last"),
    ],
)
def test_chooses_the_faster_layout(
    network: rf.TorchClassifier, images: rf.ArrayDataset, timer: Clock, layout: str, level: str
) -> None:
    found = choose_plan(network, images, [AttackSpec()], RunOptions(optimize=level), timer=timer)
    assert (found.level, found.memory_format, found.compile) == (level, layout, False)
    assert bool(found.reason) == (layout == "contiguous")


def test_times_a_layout_one_time(network: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    first = choose_plan(network, images, [AttackSpec()], RunOptions(optimize="safe"), timer=FAST)
    assert choose_plan(network, images, [AttackSpec()], RunOptions(optimize="safe"), timer=SLOW) == first


@pytest.mark.parametrize("spec", [AttackSpec(restarts=1), AttackSpec(norm=1), AttackSpec(norm=1.5), AttackSpec(loss="margin")])
def test_safe_needs_the_guard(network: rf.TorchClassifier, images: rf.ArrayDataset, spec: AttackSpec) -> None:
    found = choose_plan(network, images, [AttackSpec(), spec], RunOptions(optimize="safe"), timer=FAST)
    assert found.is_plain
    assert found.reason
    assert choose_plan(network, images, [spec], RunOptions(optimize="max"), timer=FAST).memory_format == "channels_last"


def test_networks_without_variants_are_not_planned(
    classifier: rf.TorchClassifier, network: rf.TorchClassifier, images: rf.ArrayDataset
) -> None:
    """One recorded in one layout runs as it is, and one without convolutions has no layout to choose."""
    recorded = network.variant()
    recorded.has_variants = False
    for other in (recorded, classifier):
        found = choose_plan(other, images, [AttackSpec()], RunOptions(optimize="max"), timer=FAST)
        assert found.memory_format == "contiguous"
        assert found.reason
        assert apply_plan(other, found).classifier is other


def test_level_none_times_no_layout(network: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    found = choose_plan(network, images, [AttackSpec()], RunOptions(7, "none"), timer=None)
    assert found == Plan(batch_size=7, threads=torch.get_num_threads())


def test_a_recorded_plan_stays(network: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    recorded = Plan("safe", "channels_last", batch_size=64)
    for size in ("auto", 64):
        assert choose_plan(network, images, [AttackSpec()], RunOptions(size, "safe"), recorded, SLOW) == recorded
    for other in (
        choose_plan(network, images, [AttackSpec()], RunOptions(32, "safe"), recorded, SLOW),
        choose_plan(network, images, [AttackSpec()], RunOptions(64, "max"), recorded, SLOW),
    ):
        assert other.memory_format == "contiguous"


def test_a_plan_survives_its_record() -> None:
    here = torch.get_num_threads()
    full = Plan("bf16", "channels_last", True, True, True, 64, here, "so", plan.PlanChanges(32, 1, 100, 2), True)
    for one in (full, Plan("safe", threads=here), Plan(threads=here)):
        assert Plan.from_dict(one.to_dict()) == one
    assert Plan.from_dict(None, 99) == Plan(batch_size=99, threads=here)


def test_tf32_is_only_for_planned_classifiers(network: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    made = apply_plan(network, Plan("max", tf32=True))
    assert isinstance(made.classifier, rf.TorchClassifier)
    assert made.classifier.tf32
    assert made.classifier.variant(memory_format=torch.channels_last).tf32
    assert made.plain_classifier is network
    assert not network.tf32
    assert not choose_plan(network, images, [AttackSpec()], RunOptions(optimize="max")).tf32  # which is for GPUs


def test_an_unknown_level_is_an_error(network: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with pytest.raises(rf.SettingError, match="optimize must be one of none, safe, max, bf16, got 'fast'"):
        rf.evaluate(network, images, optimize="fast")


def test_max_records_its_changes(images: rf.ArrayDataset) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.LazyLinear(10))
    net(torch.rand(64, 1, 28, 28))
    found = rf.evaluate(rf.wrap(net, 10), images, optimize="max").to_dict()["plan"]
    assert found["level"] == "max"
    assert found["fold_batch_norm"]
    assert found["changed"]["images"] == plan.TRIAL_IMAGES
    assert found["changed"]["pixels"] == plan.TRIAL_IMAGES * 784
    assert 0 <= found["changed"]["predictions_changed"] <= plan.TRIAL_IMAGES


def test_compiles_long_runs_with_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert not plan.compile_pays_off(60, cpu)
    assert plan.compile_pays_off(3600, cpu)
    assert plan.compile_pays_off(3600, torch.device("cuda"))
    assert not plan.compile_pays_off(1e9, torch.device("meta"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not plan.compiler_available(cpu)


def test_bfloat16_is_only_for_predictions(network: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    batch = next(images.batches(0, 16, 16))
    made = apply_plan(network, Plan("bf16", bf16=True)).classifier
    exact, rounded = network.predict(batch.images), made.predict(batch.images)
    assert rounded.dtype == torch.float32
    assert 1e-4 < float((rounded - exact).abs().max() / exact.abs().max()) < 0.05
    loss = get_loss("ce")
    for one, other in zip(*(way.loss_gradient(batch.images, batch.labels, loss) for way in (network, made)), strict=True):
        assert torch.equal(one, other)
    found = choose_plan(network, images, [AttackSpec()], RunOptions(optimize="bf16"))
    assert (found.bf16, found.reason, found.warnings) == (False, "bfloat16 is for GPUs", [])
    (evaluation,) = run_attacks(network, images, [AttackSpec()], plan=Plan("bf16", bf16=True))
    assert any("predicted in bfloat16" in warning for warning in evaluation.warnings)


@pytest.mark.parametrize(("budgets", "seconds"), [((0.1,), 3.0), ((0.1, 0.2, 0.3), 7.0)])
def test_times_predictions_at_each_budget(
    network: rf.TorchClassifier,
    images: rf.ArrayDataset,
    monkeypatch: pytest.MonkeyPatch,
    budgets: tuple[float, ...],
    seconds: float,
) -> None:
    ticks = iter([0.0, 1.0, 3.0])  # one second for the gradient, two for predictions at one budget
    monkeypatch.setattr(plan, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    batch = next(images.batches(0, 4, 4))
    assert measure_attack_seconds(network, batch, AttackSpec(budgets), images.classes) == seconds


def test_a_long_run_is_compiled(network: rf.TorchClassifier, images: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(plan, "compiler_available", lambda device: True)

    def stand_in(net: nn.Module) -> nn.Module:
        compiled.append(net)
        return net

    monkeypatch.setattr(plan, "compile_network", stand_in)
    assert not choose_plan(network, images, [AttackSpec()], RunOptions(optimize="max"), timer=clock(1.0, 0.5)).compile
    found = choose_plan(network, images, [AttackSpec()], RunOptions(optimize="max"), timer=clock(1e5, 1e5))
    assert found.compile
    assert not compiled  # tried before it is paid for
    apply_plan(network, found)
    assert len(compiled) == 1


def test_images_get_the_classifiers_layout(network: rf.TorchClassifier) -> None:
    x = torch.rand(2, 3, 4, 4)
    assert move_to_classifier(x, network) is x
    there = move_to_classifier(x, network.variant(memory_format=torch.channels_last))
    assert there.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(there, x)


@pytest.mark.gpu
def test_a_plan_runs_on_a_gpu(images: rf.ArrayDataset) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    found = rf.load_classifier("smallcnn", device="cuda")
    none, *others = (rf.evaluate(found, images, optimize=level) for level in ("none", "safe", "max", "bf16"))
    assert [(one.plan.tf32, one.plan.bf16) for one in (none, *others)] == [*(2 * [(False, False)]), (True, False), (True, True)]
    assert none.plan.batch_size == 4096
    assert others[0].tallies[0].n == none.tallies[0].n
    assert others[0].clean_accuracy == none.clean_accuracy
    for one in others[1:]:
        assert abs(one.tallies[0].robust_accuracy.count - none.tallies[0].robust_accuracy.count) <= 3


def test_settings_determine_the_numbers() -> None:
    one = Plan("safe", threads=1)
    assert one.settings() == replace(one, threads=2, reason="another").settings()
    assert one.settings() != replace(one, memory_format="channels_last").settings()


@pytest.mark.parametrize(
    ("n", "size", "tried", "expected"), [(60, 50, None, 32), (60, 16, None, 16), (6000, 50, None, 50), (60, 50, 50, 50)]
)
def test_times_layouts_on_a_share(network: rf.TorchClassifier, n: int, size: int, tried: int | None, expected: int) -> None:
    seen: set[int] = set()

    def timer(classifier: Classifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...]) -> float:
        seen.add(len(batch))
        return 1.0

    data = rf.ArrayDataset("grey", torch.zeros(n, 1, 28, 28), torch.zeros(n, dtype=torch.int64), network.classes or ())
    choose_plan(network, data, [AttackSpec()], RunOptions(size, "safe"), timer=timer, trial_images=tried)
    assert seen == {expected}
