"""Calls of the test bench measure what their names say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.verification.bench_calls import (
    LARGE_BATCH,
    BenchSettings,
    build_calls,
    first_call,
    fixed_gradient_of,
    linear_layer_of,
    mixed_labels,
)


def test_calls_have_different_names_and_images_in_bounds() -> None:
    calls = build_calls(BenchSettings(), targeted=True)
    assert len({call.name for call in calls}) == len(calls)
    assert all(0 <= float(call.call.x.min()) <= float(call.call.x.max()) <= 1 for call in calls)
    assert {1, 17, LARGE_BATCH} <= {len(call.call.x) for call in calls}
    epsilons = [call.call.epsilon for call in calls]
    assert (min(epsilons), max(epsilons)) == (1e-6, 1.0)
    assert {int(call.call.model(call.call.x[:1]).shape[1]) for call in calls} == {2, 10, 1000}
    assert [call.name for call in calls if call.call.targeted] == ["targeted", "targeted, other targets"]


def test_bounds_of_images_are_those_of_pixels() -> None:
    calls = {call.name: call.call for call in build_calls(BenchSettings(), targeted=False)}
    for name in ("rows", "magnitudes", "size", "turns", "large batch"):
        x = calls[name].x
        assert float(x.amin((1, 2, 3)).max()) == 0
        assert float(x.amax((1, 2, 3)).min()) == 1
    assert float(calls["levels, narrow"].x.min()) == pytest.approx(0.35)


def test_magnitudes_span_the_range_of_float32() -> None:
    calls = {call.name: call.call for call in build_calls(BenchSettings(), targeted=False)}
    for name, low, high in (("tiny", 1e-44, 1e-12), ("magnitudes", 1e-12, 1), ("huge", 1, 1e30)):
        network = fixed_gradient_of(calls[name].model)
        assert network is not None
        magnitudes = network.vector.detach()[network.vector != 0].abs()
        assert float(magnitudes.min()) < 1.1 * low + 1e-44
        assert float(magnitudes.max()) == pytest.approx(high, rel=0.1)
        assert linear_layer_of(calls[name].model) is None


def test_one_shape_and_number_of_classes_only() -> None:
    settings = BenchSettings.parse("1x28x28", 3, one_image=True)
    assert settings == replace(BenchSettings(), shape=(1, 28, 28), num_classes=3, one_image=True, own_shape=True, own_classes=True)
    calls = build_calls(settings, targeted=False)
    assert {tuple(call.call.x.shape[1:]) for call in calls} == {(1, 28, 28)}
    assert {int(call.call.model(call.call.x[:1]).shape[1]) for call in calls} == {3}


@pytest.mark.parametrize(("shape", "classes"), [("28x28", None), ("1x8x8", None), ("0x28x28", None), ("axbxc", None), ("", 1)])
def test_rejects_bad_settings(shape: str, classes: int | None) -> None:
    with pytest.raises(rf.SettingError, match=", got "):
        BenchSettings.parse(shape, classes, one_image=False)


def test_every_second_label_is_predicted() -> None:
    call = first_call(BenchSettings()).call
    with torch.no_grad():
        predicted = call.model(call.x).argmax(1)
    assert torch.equal(call.y, mixed_labels(call.model, call.x, 10))
    assert (call.y == predicted).tolist() == [True, False] * (len(call.y) // 2)
