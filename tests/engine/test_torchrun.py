"""Test the detection of torchrun."""

from __future__ import annotations

import pytest

from robustbench_fgsm.engine.torchrun import is_under_torchrun

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")


def test_needs_all_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "0")
    assert is_under_torchrun()
    monkeypatch.delenv("MASTER_ADDR")
    assert not is_under_torchrun()
