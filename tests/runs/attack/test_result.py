"""The settings in the manifest of saved adversarial images, and its checksum."""

from __future__ import annotations

from typing import Any

import pytest

from robustbench_fgsm.runs.attack.result import attack_settings, checksum
from robustbench_fgsm.runs.directory import ATTACK_SCHEMA

MANIFEST: dict[str, Any] = {
    "schema": ATTACK_SCHEMA,
    "model": {"spec": "net"},
    "output": {"batch_size": 16},
    "bad": {"allowed": 2},
    "environment": {"package": "0.1", "torch": "2.4.0+cu121", "device": "NVIDIA H100"},
}


def test_settings_have_the_common_keys() -> None:
    found = attack_settings(MANIFEST)
    assert (found["command"], found["max_bad"], found["package"]) == ("attack", 2, "0.1")
    assert (found["device"], found["torch"]) == ("cuda", "2.4.0")


@pytest.mark.parametrize(("device", "kind"), [("cpu", "cpu"), ("mps:0", "mps"), ("NVIDIA A100-SXM4", "cuda")])
def test_a_device_is_recorded_by_kind(device: str, kind: str) -> None:
    assert attack_settings(MANIFEST | {"environment": {"device": device}})["device"] == kind


def test_checksum_ignores_the_order_of_keys() -> None:
    assert checksum({"a": 1, "b": 2}) == checksum({"b": 2, "a": 1, "checksum": "old"}) != checksum({"a": 1, "b": 3})
