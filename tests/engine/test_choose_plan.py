"""Test how a plan is chosen, and that a plan that could change an answer is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.data.sources.fashion_mnist import load_fashion_mnist
from robustbench_fgsm.engine import choose_plan as chooser
from robustbench_fgsm.engine.choose_plan import check_recorded_plan, choose_plan, measure_attack_seconds
from robustbench_fgsm.engine.plan import Plan, PlannedClassifier, apply_plan
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.options import RunOptions
from robustbench_fgsm.spec import AttackSpec
from tests.engine.unusual_networks import REFUSED, SmallNetwork

Clock = Callable[[PlannedClassifier, Batch, AttackSpec, tuple[str, ...]], float]
SIZE = 16
SPEC = AttackSpec((8 / 255,))


@pytest.fixture(scope="module")
def many() -> rf.ArrayDataset:
    """As many images as a plan needs."""
    return load_fashion_mnist().head(2000)


def clock(contiguous: float, channels_last: float) -> Clock:
    """A clock that shows these seconds."""
    return lambda planned, *_: channels_last if planned.plan.memory_format == "channels_last" else contiguous


SLOW, FAST = clock(1.0, 1.0), clock(1.0, 0.5)


@pytest.mark.parametrize(
    ("timer", "level", "layout"),
    [
        (SLOW, "safe", "contiguous"),
        (SLOW, "max", "contiguous"),
        (clock(1.0, 0.7), "safe", "contiguous"),  # the audit of three images in ten would add to it
        (clock(1.0, 0.99), "max", "channels_last"),
        (FAST, "safe", "channels_last"),
        (FAST, "max", "channels_last"),
    ],
)
def test_chooses_the_faster_layout(
    network: rf.TorchClassifier, many: rf.ArrayDataset, timer: Clock, level: str, layout: str
) -> None:
    found = choose_plan(network, many, [SPEC], RunOptions(SIZE, level), timer=timer)
    assert (found.level, found.memory_format, found.compile) == (level, layout, False)
    assert bool(found.reason) == (layout == "contiguous")
    assert found.guarded == (level == "safe" and layout == "channels_last")
    assert (found.trial is None) == found.is_plain


@pytest.mark.parametrize(
    ("level", "n", "size", "budgets", "reason"),
    [
        ("safe", 1999, SIZE, 8, "fewer than 2,000 images"),
        ("safe", 2000, 256, 1, "too short for a trial"),
        ("safe", 2000, 128, 8, ""),
        ("max", 256, 128, 1, "too short for a trial"),
        ("max", 2000, 64, 1, ""),
        ("max", 1024, 256, 1, ""),
    ],
)
def test_short_runs_are_plain(
    network: rf.TorchClassifier, many: rf.ArrayDataset, level: str, n: int, size: int, budgets: int, reason: str
) -> None:
    spec = AttackSpec(tuple(0.01 * k for k in range(1, budgets + 1)))
    found = choose_plan(network, many.head(n), [spec], RunOptions(size, level), timer=FAST)
    assert found.is_plain == bool(reason)
    assert reason in found.reason


def test_safe_needs_its_guard_and_its_audit(network: rf.TorchClassifier, many: rf.ArrayDataset) -> None:
    restarted = choose_plan(network, many, [SPEC, AttackSpec(restarts=1)], RunOptions(SIZE, "safe"), timer=FAST)
    unaudited = choose_plan(network, many, [SPEC], RunOptions(SIZE, "safe"), timer=FAST, audited=False)
    assert restarted.is_plain
    assert "several starts" in restarted.reason
    assert unaudited.is_plain
    assert "audit their predictions" in unaudited.reason


@pytest.mark.parametrize("spec", [AttackSpec(norm=1), AttackSpec(norm=1.5), AttackSpec(loss="margin")])
def test_safe_serves_every_norm_and_loss(network: rf.TorchClassifier, many: rf.ArrayDataset, spec: AttackSpec) -> None:
    assert choose_plan(network, many, [spec], RunOptions(SIZE, "safe"), timer=FAST).guarded


def test_networks_without_variants_are_not_planned(
    classifier: rf.TorchClassifier, network: rf.TorchClassifier, many: rf.ArrayDataset
) -> None:
    """One recorded in one layout runs as it is, and one without convolutions has no layout to choose."""
    recorded = network.variant()
    recorded.has_variants = False
    for other in (recorded, classifier):
        found = choose_plan(other, many, [SPEC], RunOptions(SIZE, "max"), timer=FAST)
        assert found.is_plain
        assert found.reason
        assert apply_plan(other, found).classifier is other


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("level", ["safe", "max"])
def test_unusual_networks_stay_plain(name: str, level: str, many: rf.ArrayDataset) -> None:
    """The plan says why, and neither the network nor a random generator has changed."""
    make, reason = REFUSED[name]
    torch.manual_seed(0)
    classifier = rf.wrap(make(), 10)
    state, random_state = str(vars(classifier.network.network)), torch.get_rng_state()
    found = choose_plan(classifier, many, [SPEC], RunOptions(SIZE, level), timer=FAST)
    assert found.is_plain
    assert any(part in found.reason for part in reason.split("|"))
    assert str(vars(classifier.network.network)) == state
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("name", ["type", "dropout", "calls", "hook"])
def test_unusual_networks_are_counted_as_without_a_plan(name: str, many: rf.ArrayDataset) -> None:
    counts = []
    for level in ("none", "safe", "max"):
        torch.manual_seed(0)
        classifier = rf.wrap(REFUSED[name][0](), 10)
        (found,) = run_attacks(classifier, many, [SPEC], RunOptions(SIZE, level))
        counts.append((found.clean_accuracy, found.tallies[0].robust_accuracy, found.first_fooled))
        assert found.plan.is_plain
    assert counts[1:] == counts[:1] * 2


def test_level_none_tries_nothing(network: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    assert choose_plan(network, images, [SPEC], RunOptions(7, "none")) == Plan(batch_size=7, threads=torch.get_num_threads())


def test_a_recorded_plan_stays(network: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    recorded = Plan("safe", "channels_last", batch_size=64)
    for size in ("auto", 64):
        assert choose_plan(network, images, [SPEC], RunOptions(size, "safe"), recorded, SLOW) == recorded
    for other in (
        choose_plan(network, images, [SPEC], RunOptions(32, "safe"), recorded, SLOW),
        choose_plan(network, images, [SPEC], RunOptions(64, "max"), recorded, SLOW),
    ):
        assert other.memory_format == "contiguous"


def test_a_recorded_plan_is_tried_again(
    network: rf.TorchClassifier, many: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = choose_plan(network, many, [SPEC], RunOptions(SIZE, "safe"), timer=FAST)
    assert recorded.guarded
    check_recorded_plan(network, many, [SPEC], recorded)
    check_recorded_plan(network, many, [SPEC], Plan("safe", batch_size=SIZE))
    with pytest.raises(rf.SettingError, match="recorded plan must give the plain network's numbers, got outputs differ by"):
        check_recorded_plan(rf.wrap(REFUSED["type"][0](), 10), many, [SPEC], recorded)
    with pytest.raises(rf.SettingError, match="got rounding errors exceed the recorded bounds: continue the run where"):
        check_recorded_plan(network, many, [SPEC], Plan.from_dict(with_bound(recorded, 1e-12)))


def with_bound(recorded: Plan, bound: float) -> dict[str, object]:
    document = recorded.to_dict()
    document["trial"]["guard"]["relative"] = bound
    return document


def batch_normed() -> rf.TorchClassifier:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.LazyLinear(10))
    net(torch.rand(64, 1, 28, 28))
    return rf.wrap(net, 10)


def test_max_records_its_trial_and_changes(many: rf.ArrayDataset) -> None:
    found = rf.evaluate(batch_normed(), many, batch_size=SIZE, optimize="max").to_dict()["plan"]
    assert found["level"] == "max"
    assert found["fold_batch_norm"]
    assert found["trial"]["batch_sizes"] == [SIZE, SIZE // 2]
    assert found["trial"]["gradient_difference"] is not None
    assert found["trial"]["guard"] is None
    assert found["audit"] is None
    assert found["changed"]["images"] == SIZE
    assert found["changed"]["pixels"] == SIZE * 784
    assert 0 <= found["changed"]["predictions_changed"] <= SIZE


def test_folding_that_changes_the_network_is_left_out(many: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def fold_wrongly(network: nn.Module) -> nn.Module:
        return nn.Sequential(network, nn.Hardtanh(-0.1, 0.1))

    monkeypatch.setattr("robustbench_fgsm.engine.plan.fold_batch_norm", fold_wrongly)
    found = choose_plan(batch_normed(), many, [SPEC], RunOptions(SIZE, "max"), timer=FAST)
    assert (found.fold_batch_norm, found.memory_format) == (False, "channels_last")
    assert "outputs differ by" in found.reason


@pytest.mark.parametrize("level", ["safe", "max"])
def test_tf32_and_bfloat16_are_for_gpus(network: rf.TorchClassifier, many: rf.ArrayDataset, level: str) -> None:
    assert choose_plan(network, many, [SPEC], RunOptions(SIZE, level), timer=FAST).precision == "float32"


@pytest.mark.parametrize(("spec", "weights"), [("mlp300", "auto"), ("smallcnn", "robust")])
def test_reduced_precision_counts_as_float32(
    spec: str, weights: str, many: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU, which is not given these precisions to choose, the code that a GPU runs."""
    classifier = rf.load_classifier(spec, weights=weights, device="cpu")
    specs = [AttackSpec((2 / 255, 8 / 255))]
    (plain,) = run_attacks(classifier, many, specs, RunOptions(32, "none"))
    monkeypatch.setitem(chooser.REDUCED_PRECISIONS, "cpu", ("bf16",))
    monkeypatch.setattr(chooser, "measure_attack_seconds", lambda planned, *_: 0.1 if planned.plan.bf16 else 1.0)
    (reduced,) = run_attacks(classifier, many, specs, RunOptions(32, "safe"))
    assert reduced.plan.precision == "bf16"
    assert reduced.decided_again > 0
    assert reduced.audit.audited > 500
    assert reduced.audit.differing == 0
    assert outcomes(reduced) == outcomes(plain)


def outcomes(evaluation: rf.Evaluation) -> list[str]:
    return [str(evaluation.first_fooled), *(str(tally) for tally in (*evaluation.tallies, *evaluation.stable))]


def test_reduced_precision_must_be_faster(
    network: rf.TorchClassifier, many: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(chooser.REDUCED_PRECISIONS, "cpu", ("bf16",))
    found = choose_plan(network, many, [SPEC], RunOptions(SIZE, "safe"), timer=SLOW)
    assert found.is_plain
    assert "reduced precision was not faster" in found.reason


def test_an_unknown_level_is_an_error(network: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with pytest.raises(rf.SettingError, match="optimize must be one of none, safe, max, got 'fast'"):
        rf.evaluate(network, images, optimize="fast")


def test_compiles_long_runs_with_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert not chooser.compile_pays_off(60, cpu)
    assert chooser.compile_pays_off(3600, cpu)
    assert chooser.compile_pays_off(3600, torch.device("cuda"))
    assert not chooser.compile_pays_off(1e9, torch.device("meta"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not chooser.compiler_available(cpu)


def test_a_compiled_network_is_tried(many: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chooser, "compiler_available", lambda device: True)
    monkeypatch.setattr("robustbench_fgsm.engine.plan.compile_network", lambda network: network)
    classifier = rf.wrap(SmallNetwork(), 10)
    assert not choose_plan(classifier, many, [SPEC], RunOptions(SIZE, "max"), timer=clock(1.0, 0.5)).compile
    assert choose_plan(classifier, many, [SPEC], RunOptions(SIZE, "max"), timer=clock(1e5, 1e5)).compile
    monkeypatch.setattr("robustbench_fgsm.engine.plan.compile_network", lambda network: nn.Sequential(network, nn.Tanh()))
    found = choose_plan(classifier, many, [SPEC], RunOptions(SIZE, "max"), timer=clock(1e5, 1e5))
    assert not found.compile
    assert "outputs differ by" in found.reason


@pytest.mark.parametrize(("level", "seconds"), [("none", (1.5, 3.5)), ("safe", (1.0, 3.0))])
@pytest.mark.skipif(os.name != "posix", reason="processor time has coarse steps")
def test_times_what_the_level_plans(
    network: rf.TorchClassifier, images: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch, level: str, seconds: tuple[float, ...]
) -> None:
    for budgets, expected in zip(((0.1,), (0.1, 0.2, 0.3)), seconds, strict=True):
        ticks = iter([0.0, 0.0 if level == "safe" else 1.0, 2.0 if level == "safe" else 3.0])  # two seconds for predictions
        clock = SimpleNamespace(process_time=lambda ticks=ticks: next(ticks), perf_counter=None)
        monkeypatch.setattr(chooser, "time", clock)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
        planned = apply_plan(network, Plan(level))  # type: ignore[arg-type]
        assert measure_attack_seconds(planned, next(images.batches(0, 4, 4)), AttackSpec(budgets), images.classes) == expected
