"""Summary of a list of models, data sets or references."""

from __future__ import annotations

from typing import Any

from robustbench_fgsm.models.cards import bundled_cards
from robustbench_fgsm.report.documents.list import summarize

SOURCES = [
    {"name": "bundled", "example": "mlp300", "package": None, "version": "1", "install": None},
    {"name": "timm", "example": "timm:NAME", "package": "timm", "version": None, "install": "pip install timm"},
]


def model(name: str, source: str = "bundled") -> dict[str, Any]:
    rate = {"value": 0.5, "count": 1, "n": 2, "low": 0.1, "high": 0.9}
    size: dict[str, Any] = {"parameters": 1000, "bytes": 4000, "on_disk": source == "bundled"}
    return {"name": name, "weights": "standard", "clean_accuracy": rate, "data": None, "source": source} | size


def test_models_precede_their_sources() -> None:
    models, sources = summarize({"models": [model("a") for _ in bundled_cards()], "sources": SOURCES}).sheets
    assert models.rows[0] == ("a", "standard", 1000, "50.0 [10.0, 90.0] n=2", None)
    assert sources.rows == (("bundled", "mlp300", "rfgsm 1"), ("timm", "timm:NAME", "pip install timm"))


def test_found_models_have_no_sources() -> None:
    (models,) = summarize({"models": [model("a"), model("b", "timm")], "sources": SOURCES}).sheets
    assert models.columns == ("name", "weights", "parameters", "bytes", "on disk")
    assert [row[-1] for row in models.rows] == ["yes", "no"]


def test_no_model_was_found() -> None:
    summary = summarize({"models": [], "sources": SOURCES})
    assert (summary.heading, summary.sheets) == (("no model of that name",), [])


def test_missing_reference_shows_install_command() -> None:
    rows = [
        {"name": "art", "package": "a", "version": "1", "install": None},
        {"name": "b", "package": "b", "version": None, "install": "pip install b"},
    ]
    (sheet,) = summarize({"references": rows}).sheets
    assert sheet.rows == (("art", "a", "1"), ("b", "b", "none: pip install b"))
