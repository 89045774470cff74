"""Evaluations and sweeps in the terminal: readable at 80 columns, nothing cut, nothing said twice."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console, RenderableType

from robustbench_fgsm.data.sources.fashion_mnist import CLASS_NAMES
from robustbench_fgsm.evaluation.thresholds import apply_thresholds, find_epsilon_for_success
from robustbench_fgsm.report.documents.evaluation import render_evaluation, render_sweep
from robustbench_fgsm.report.tables.terminal import INTERVAL_NOTE, LIMITATION_NOTE
from robustbench_fgsm.spec import Thresholds

Document = dict[str, Any]
Measured = Callable[..., Document]


def rendered(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None, highlight=False, emoji=False, markup=False)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def unwrapped(what: RenderableType) -> str:
    return " ".join(rendered(what).split())


def at_its_widest(document: Document) -> Document:
    """With the bundled classes, ten thousand images in every cell, and the longest rates that there can be."""
    whole = {"value": 1.0, "count": 10_000, "n": 10_000, "low": 0.9996, "high": 1.0}

    def widen(value: Any) -> Any:
        if isinstance(value, dict) and value.keys() == whole.keys():
            return whole
        if isinstance(value, dict):
            return {key: 10_000 if key in ("n", "clean_correct") else widen(item) for key, item in value.items()}
        return [widen(item) for item in value] if isinstance(value, list) else value

    wide: Document = widen(document)
    for found in wide.get("evaluations", [wide]):
        found["data"]["classes"] = list(CLASS_NAMES)
        found["clean"]["confusion"] = [[10_000] * 10] * 10
        for at in found["epsilons"]:
            for side in (at, at.get("stable", at)):
                side |= {"confusion": [[10_000] * 10] * 10, "transition": [[10_000] * 10] * 10, "worst_class": 0}
                for result, name in zip(side["per_class"], CLASS_NAMES, strict=True):
                    rates = dict.fromkeys(("robust_accuracy", "attack_success_rate"), whole | {"n": 1000})
                    result.update(rates, name=name, n=1000, clean_correct=1000, most_common_wrong=0)
    return wide


def test_an_evaluation_fits_80_columns_and_nothing_is_cut(measured: Measured) -> None:
    document = at_its_widest(measured("0.3", scale=300))
    text = rendered(render_evaluation(document))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.count(" 10000" * 10) == 30
    for label, name in enumerate(CLASS_NAMES):
        assert len(re.findall(rf"^{label} {re.escape(name)} ", text, re.MULTILINE)) >= 4


def test_a_sweep_fits_80_columns_and_nothing_is_cut(measured: Measured) -> None:
    document = at_its_widest(measured("0.1,0.3", scale=300, targeted=("none", "next")))
    text = rendered(render_sweep(find_epsilon_for_success(document, 0.5)))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "T-shirt/top" in text


def test_an_evaluation_shows_all_that_it_should(measured: Measured) -> None:
    text = unwrapped(render_evaluation(measured()))
    for title in (
        "Confusion before the attack",
        "Confusion after it",
        "Transition of predictions",
        "By class",
        "Health",
    ):
        assert text.count(title) == 1
    assert "epsilon 8/255, targeted none, loss ce" in text
    for once in (INTERVAL_NOTE, LIMITATION_NOTE, "worst class", "leaked labels"):
        assert text.count(once) == 1
    assert "stable" not in text


def test_stable_rates_are_explained_where_they_stand(measured: Measured) -> None:
    text = unwrapped(render_evaluation(measured("0.3", scale=300)))
    assert "ordinary stable" in text
    assert text.count("Stable: cross-entropy without its cancellation") == 1
    assert text.count("By class") == 2
    assert "Warning: saturation" in text


def test_the_random_start_is_named(measured: Measured) -> None:
    document = measured("8/255", restarts=2)
    text = unwrapped(render_evaluation(document))
    assert f"R = 2 random starts, seed 0: {document['attack']['start']}" in text
    assert "Rates in per cent, with their 95 % interval; best of 3 starts (R = 2)" in text


def test_rates_of_nothing_are_not_applicable(measured: Measured) -> None:
    document = measured()
    document["epsilons"][0]["flip_rate"] = {"value": None, "count": 0, "n": 0, "low": None, "high": None}
    assert "flip rate all images 0 n/a" in unwrapped(render_evaluation(document))


def test_gates_are_said(measured: Measured) -> None:
    text = unwrapped(render_evaluation(apply_thresholds(measured("64/255"), Thresholds(min_robust_accuracy=0.0, max_asr=0.0))))
    assert "PASSED: robust accuracy" in text
    assert "FAILED: attack success rate" in text
    assert "wanted <= 0 %" in text


def test_what_makes_a_run_invalid_is_said(measured: Measured) -> None:
    document = measured() | {"invalid_reasons": ["no gradient was finite"], "warnings": ["labels leak"]}
    text = unwrapped(render_evaluation(document))
    assert "INVALID: no gradient was finite" in text
    assert "Warning: labels leak" in text


def test_a_sweep_shows_every_rule(measured: Measured) -> None:
    document = measured("4,64/255", targeted=("none", "next"))
    text = rendered(render_sweep(document))
    assert "A untargeted\n" in text
    assert "B targeted next\n" in text
    flat = " ".join(text.split())
    assert flat.count("Smallest epsilon that fools") == flat.count("Area under the curve") == 2
    assert flat.count(INTERVAL_NOTE) == flat.count(LIMITATION_NOTE) == 1
    for found in document["evaluations"]:
        assert f"{100 * found['area_under_curve']:.1f} % mean robust accuracy from 0 to 64/255" in flat


@pytest.mark.parametrize(("rate", "place"), [(0.0, "4/255"), (1.0, "none of these")])
def test_a_success_rate_that_was_asked_for(measured: Measured, rate: float, place: str) -> None:
    text = unwrapped(render_sweep(find_epsilon_for_success(measured("4,8/255"), rate)))
    assert f"First epsilon with {100 * rate:g} % attack success: {place}." in text


def test_a_sweep_of_no_budget_has_no_area(measured: Measured) -> None:
    document = {"evaluations": [measured("0")], "warnings": [], "invalid_reasons": []}
    assert "Area" not in rendered(render_sweep(document))


def test_markup_in_names_stays_literal(measured: Measured) -> None:
    document = measured()
    document["data"]["classes"][0] = document["epsilons"][0]["per_class"][0]["name"] = "[red]:smile:"
    text = rendered(render_evaluation(document))
    assert len(re.findall(r"^0 \[red\]:smile: ", text, re.MULTILINE)) == 4
