"""Summary of a gate."""

from __future__ import annotations

from typing import Any

import pytest

from robustbench_fgsm.report.documents.gate import failure_text, summarize
from tests.report.printed import printed

Document = dict[str, Any]


def drop(label: int | None = None, value: float = 0.02, *, exceeds: bool = False, within: bool = True, **changes: Any) -> Document:
    rates = {"accuracy": {"count": 48}, "baseline_accuracy": {"count": 50}}
    places = {"label": label, "name": None if label is None else f"class {label}", "epsilon": 8 / 255, "targeted": "none"}
    bounds = {
        "drop": value,
        "low": -0.01,
        "high": 0.05,
        "p": 0.2,
        "detectable": 0.1,
        "needed": None,
        "exceeds": exceeds,
        "within": within,
    }
    return places | rates | bounds | {"n": 100, "needed": None} | changes


def document(*drops: Document, **changes: Any) -> Document:
    side = {"model": {"spec": "mlp300", "weights": "standard"}, "path": "results/new"}
    return {
        "schema": "rfgsm.gate/1",
        "run": side,
        "baseline": side | {"path": "results/main"},
        "attacks": [{"norm": "inf"}],
        "gradient": "ordinary",
        "n": 100,
        "data": {"spec": "fashion-mnist"},
        "drops": [drop(), drop(0), *drops],
        "alpha": 0.05,
        "power": 0.8,
        "max_drop": 0.01,
        "require_evidence": False,
        "verdict": "passed",
        "improved": False,
        "on": "accuracy",
        "max_decrease": 0.0,
        "decreases": [],
        "moved": [],
        "ties": 0,
        "repeats": 0,
        "model_change": "weights",
        "warnings": [],
        "invalid_reasons": [],
    } | changes


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (document(), "PASSED: every drop is shown to be less than 1 % of the images."),
        (
            document(drop(1, within=False)),
            "PASSED: no drop of more than 1 % of the images is shown; in 1 of 3 places none is ruled out.",
        ),
        (
            document(drop(1, within=False), require_evidence=True),
            "FAILED: no drop of more than 1 % of the images is shown, but in 1 of 3 places none is ruled out.",
        ),
        (
            document(*(drop(label, exceeds=True) for label in range(1, 8))),
            "FAILED: accuracy fell by more than 1 % of the images: class 1 at epsilon 8/255; class 2 at epsilon 8/255; "
            "class 3 at epsilon 8/255; class 4 at epsilon 8/255; class 5 at epsilon 8/255; and 2 more.",
        ),
        (
            document(improved=True),
            "PASSED: every drop is shown to be less than 1 % of the images. The run is better: make it the baseline.",
        ),
        (document(invalid_reasons=["bad"]), "FAILED: a run is invalid, and its numbers must not be used."),
    ],
)
def test_the_verdict(found: Document, verdict: str) -> None:
    assert summarize(found).verdict == verdict
    assert printed(found, 300).splitlines()[-1] == verdict


def test_lists_classes_with_the_smallest_p() -> None:
    whole, classes = summarize(document(*(drop(label, p=label / 100) for label in range(1, 20)))).sheets
    assert [row[1] for row in whole.rows] == ["all"]
    assert [row[1] for row in classes.rows] == [f"class {label}" for label in range(1, 13)]
    assert "the 12 with the smallest p" in classes.title


def test_a_clean_drop_has_no_budget() -> None:
    whole, _ = summarize(document(drop(epsilon=None))).sheets
    assert whole.rows[-1][:5] == ("clean", "all", 100, 50, 48)


def test_ties_are_named() -> None:
    assert "2 images changed with a prediction that depends on rounding: ties, not counted." in printed(document(ties=2))


def test_a_failure_says_what_moved_by_how_much_and_how_sure() -> None:
    rates = {"accuracy": {"count": 48, "value": 0.48}, "baseline_accuracy": {"count": 50, "value": 0.5}}
    moved: Document = rates | {"low": 0.015, "p": 0.00031, "lost": 3, "gained": 1}
    drops = [drop(exceeds=True, **moved), *(drop(label, exceeds=True, **moved) for label in range(7))]
    lines = failure_text(document(verdict="failed") | {"drops": drops}).splitlines()
    assert (
        lines[0]
        == "mlp300 (standard) is less robust than mlp300 (standard) of results/main (other weights), 100 images of fashion-mnist"
    )
    assert lines[1] == (
        "  all images at epsilon 8/255: 50.0 % -> 48.0 % right, fell by 2.0 points (at least 1.5; adjusted p 0.00031); "
        "3 of 100 lost, 1 gained"
    )
    assert lines[-2:] == ["  and 3 more", "  allowed: 1 % of the images"]


def test_an_invalid_run_has_no_drops() -> None:
    found = document(drop(exceeds=True, low=0.015, p=0.01, lost=3, gained=1), verdict="failed", invalid_reasons=["run: outputs"])
    assert failure_text(found) == "FAILED: a run is invalid, and its numbers must not be used.\n  run: outputs"


@pytest.mark.parametrize(("on", "allowed"), [("distance", "0.5/255"), ("both", "1 % of the images and 0.5/255")])
def test_a_failure_names_what_its_criterion_allows(on: str, allowed: str) -> None:
    found = document(on=on, verdict="failed", decreases=[decrease(exceeds=True)], max_decrease=0.5 / 255)
    assert failure_text(found).splitlines()[-1] == f"  allowed: {allowed}"


def test_a_failure_for_lack_of_evidence_is_the_verdict() -> None:
    text = failure_text(document(drop(1, within=False), require_evidence=True, verdict="failed"))
    assert text.startswith("FAILED: no drop of more than 1 % of the images is shown, but in 1 of 3 places none is ruled out.")


def decrease(label: int | None = None, *, exceeds: bool = False, **changes: Any) -> Document:
    places = {"targeted": "none", "label": label, "name": None if label is None else f"class {label}"}
    counts = {"n": 100, "compared": 90, "closer": 60, "farther": 20, "needed": 321}
    return (
        places
        | counts
        | {"decrease": 0.6 / 255, "low": 0.3 / 255, "high": None, "p": 0.01, "exceeds": exceeds, "within": False}
        | changes
    )


MOVED = {"targeted": "none", "epsilon": 8 / 255, "below": 70, "above": 20, "lost": 6, "gained": 4}
MEDIANS = {"below_decrease": 1 / 255, "above_decrease": -0.5 / 255}


def test_both_criteria_are_shown() -> None:
    found = document(decreases=[decrease(exceeds=True), decrease(0)], moved=[MOVED | MEDIANS])
    found["drops"][0]["needed"] = 5975
    text = " ".join(printed(found).split())
    assert "Distance: smaller by 0.60/255 [0.30, ...] in the median." in text
    assert "Accuracy of all images at epsilon 8/255: no drop shown (5,975 images would be needed)." in text
    assert "70 images are fooled in both runs, closer by 1.00/255 in the median; 20 in neither, farther by 0.50/255" in text
    assert summarize(found).verdict.startswith("PASSED: every drop")


def test_the_chosen_criterion_decides() -> None:
    found = document(decreases=[decrease(exceeds=True)], moved=[], on="both", verdict="failed")
    verdict = summarize(found).verdict
    assert verdict == "FAILED: distance fell by more than 0/255: all images; every drop is shown to be less than 1 % of the images."
    assert "distance" not in summarize(found | {"on": "accuracy"}).verdict


def test_a_decrease_that_is_not_shown() -> None:
    found = document(decreases=[decrease()], max_decrease=0.5 / 255)
    text = " ".join(printed(found).split())
    assert "no decrease of more than 0.5/255 shown (321 images would be needed); smaller by 0.60/255 in the median" in text
    assert "at Holm's levels over 2 places, of the distance over 1." in text
    assert "The two criteria disagree" not in text


def test_an_equal_distance_is_unchanged() -> None:
    text = " ".join(printed(document(decreases=[decrease(decrease=0.0, needed=None)])).split())
    assert "no decrease shown; unchanged in the median" in text
