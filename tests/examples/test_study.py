"""The study runs, its numbers are consistent, and the page quotes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.load_script import load_script

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/study.md"
KEPT = ROOT / "docs/explanation/study"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """examples/dnn_width_study.py."""
    return load_script(ROOT / "examples/dnn_width_study.py")


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """study.json of the page."""
    found: dict[str, Any] = json.loads((KEPT / "study.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.reference
def test_runs(example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["study", "--quick", "--out", str(tmp_path)])
    example.main()
    found = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    (network,) = found["widths"].values()
    right, wrong = network["attacks"]["none"], network["in_place"]
    assert right[0]["accuracy_drop"] == wrong[0]["accuracy_drop"]
    assert right[3]["accuracy_drop"]["value"] < wrong[3]["accuracy_drop"]["value"]
    assert [fault["cause"] for fault in found["mistake"]][:2] == ["mutates-input", "accumulated-epsilon"]
    fresh = found["retraining"]["static"]["fgsm"][2]
    assert (fresh["over_255"], fresh["robust_accuracy"]) == (10, found["why"][0]["static"]["fresh FGSM"])
    assert found["why"][0]["never retrained"]["first's perturbations"] == right[2]["robust_accuracy"]
    printed, written = capsys.readouterr().out, (tmp_path / "study.md").read_text(encoding="utf-8")
    for text in example.tables(found).values():
        assert text in written
        assert text in printed
    assert (tmp_path / "curves.svg").read_bytes().startswith(b"<?xml")


def test_page_quotes_the_study(example: ModuleType, kept: dict[str, Any]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert not kept["quick"]
    for name, text in example.tables(kept).items():
        assert text in page, name


def test_static_retraining_fails(kept: dict[str, Any]) -> None:
    retrained = {name: one["fgsm"][2]["robust_accuracy"] for name, one in kept["retraining"].items()}
    assert retrained["static"]["high"] < retrained["never retrained"]["low"] < retrained["n-fgsm"]["low"]
    assert len(kept["why"]) == 5
    for one in kept["why"]:
        assert one["static"]["fresh FGSM"]["high"] < one["never retrained"]["fresh FGSM"]["low"]
        assert one["static"]["first's perturbations"]["low"] > one["never retrained"]["first's perturbations"]["high"]
        assert one["random signs"]["fresh FGSM"]["low"] > one["static"]["fresh FGSM"]["high"]
