"""The command that gives a run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robustbench_fgsm.report.pages.command import reproduction_command
from tests.report.runs import crossed, run, taught

Measured = Callable[..., dict[str, Any]]


def test_sweep(measured: Measured) -> None:
    text = reproduction_command(run(measured("4,64/255", targeted=("none", "next"))))
    assert text.startswith("rfgsm sweep --model ")
    assert "--eps 4/255,64/255 --norm inf --targeted none --targeted next --loss ce --restarts 0" in text


def test_transfer() -> None:
    text = reproduction_command(run(crossed()))
    assert text.startswith("rfgsm transfer --source ")
    assert "--common --per-class" in text


def test_multiprocess_training_uses_torchrun() -> None:
    document = taught()
    assert reproduction_command(run(document)).startswith("rfgsm train --model ")
    manifest = {"processes": 2, "model": document["model"] | {"settings": {}}, "device": "cpu"}
    shared = "torchrun --standalone --nproc-per-node 2 -m robustbench_fgsm train --model "
    assert reproduction_command(run(document, manifest=manifest)).startswith(shared)
    assert reproduction_command(run(document)).endswith("--out repeated")
