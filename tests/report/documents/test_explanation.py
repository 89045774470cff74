"""The summary of an explanation in the terminal, from a document made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from robustbench_fgsm.stats.rate import Rate
from tests.report.printed import printed

Document = dict[str, Any]


def combination(definition: str, distance: float | None, *mistakes: str, **changes: Any) -> Document:
    return {
        "definition": definition,
        "name": " + ".join(mistakes) or "the right attack",
        "unit": "as given",
        "labels": "true",
        "mistakes": list(mistakes),
        "rate": Rate(37, 100 if distance is not None else 0).to_dict(),
        "distance": distance,
        "fits": distance is not None and distance < 0.1,
        "also": [],
    } | changes


def document(*explanations: Document, targeted: str = "none", **changes: Any) -> Document:
    return {
        "schema": "rfgsm.explanation/1",
        "model": {"spec": "mlp300", "weights": "standard"},
        "data": {"spec": "fashion-mnist"},
        "attack": {"epsilon": 8 / 255, "targeted": targeted},
        "n": 100,
        "claim": {"text": "37%", "value": 0.37, "low": 0.365, "high": 0.375, "n": 2000},
        "test": "it fits where it fits",
        "honest": [found for found in explanations if not found["mistakes"]],
        "explanations": list(explanations),
        "warnings": [],
        "invalid_reasons": [],
    } | changes


def text_of(found: Document) -> str:
    text = printed(found)
    assert max(map(len, text.splitlines())) <= 80
    return " ".join(text.split())


HONEST = combination("robust_accuracy", 0.0)
NEAR = combination("attack_success_rate", 0.0123)
MISTAKEN = combination("flip_rate", 0.0, "no-clip", also=["train-mode", "no-op", "iterated", "wrong-sign"])
FAR = combination("error_rate", 0.4)
NOTHING = combination("clean_accuracy", None)


def test_shows_measurement_and_claim() -> None:
    text = text_of(document(HONEST))
    assert "mlp300 (standard) on 100 images of fashion-mnist" in text
    assert "FGSM, norm inf, epsilon 8/255, targeted none" in text
    assert "Reported: 37%, that is 36.5 to 37.5 %, of 2,000 images." in text


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([HONEST, MISTAKEN], "The right attack gives the number, as robust accuracy: nothing need be wrong with it."),
        ([NEAR, MISTAKEN], "as attack success rate; 1 of 2 combinations, each with a mistake, give it to its digits."),
        ([MISTAKEN, FAR], "does not give the number; 1 of 2 combinations, each with a mistake, do. A fit is a suspicion"),
        ([FAR, NOTHING], "None of 2 combinations gives the number"),
    ],
)
def test_the_verdict(found: list[Document], verdict: str) -> None:
    text = text_of(document(*found))
    assert verdict in text
    assert ("Nothing fits; the nearest" in text) == (FAR in found and MISTAKEN not in found)


def test_rows_shorten_the_causes() -> None:
    text = text_of(document(MISTAKEN))
    assert "no-clip; the" in text
    assert "no-op," in text
    assert "and 2 more" in text
    assert "wrong-sign" not in text
    assert "no-clip: images leave the pixel range. Instead: clip the result to the bounds: x_adv.clamp(0, 1)." in text


def test_always_shows_the_honest_figures() -> None:
    text = text_of(document(HONEST, FAR, NOTHING, MISTAKEN))
    assert "robust accuracy all images 100 37.0 [28.2, 46.8] 0.0 yes" in text
    assert "error rate all images 100 37.0 [28.2, 46.8] 40.0 no" in text
    assert "clean accuracy all images 0 n/a n/a no" in text


def test_denominators_are_named() -> None:
    assert "attack success rate right before" in text_of(document(NEAR))
    assert "attack success rate off target" in text_of(document(NEAR, targeted="next"))


def test_lists_the_three_nearest() -> None:
    others = [combination("flip_rate", distance, "no-clip") for distance in (0.5, 0.3, 0.2)]
    text = text_of(document(FAR, NOTHING, *others))
    assert [text.count(f" {off} ") for off in ("20.0", "30.0", "40.0", "50.0")] == [1, 1, 2, 0]


def test_cuts_a_long_list() -> None:
    assert "3 more fit (all of them with --json)." in text_of(document(*[MISTAKEN] * 13))


def test_warnings_and_reasons() -> None:
    text = text_of(document(HONEST, warnings=["labels leak"], invalid_reasons=["gradients are not finite"]))
    assert "Warning: labels leak" in text
    assert text.endswith("INVALID: gradients are not finite")


def match(definition: str, epsilon: float, excluded_from_n: int | None, **changes: Any) -> Document:
    distance = 0.0 if excluded_from_n is None else 0.02
    return combination(definition, distance, epsilon=epsilon, exact=distance == 0, excluded_from_n=excluded_from_n, **changes)


def of_numbers(*numbers: Document, **changes: Any) -> Document:
    limits = [number["excluded_from_n"] for number in numbers if number["excluded_from_n"]]
    first = combination(numbers[0]["definition"], max(number["distance"] for number in numbers), **changes)
    return first | {"numbers": list(numbers), "excluded_from_n": min(limits, default=None)}


CLAIM = {"text": "37%", "value": 0.37, "low": 0.365, "high": 0.375, "n": 2000}
OTHER_CLAIM = {"text": "0.2", "value": 0.2, "low": 0.15, "high": 0.25, "n": 2000}


def test_several_numbers_at_several_budgets() -> None:
    found = of_numbers(match("robust_accuracy", 4 / 255, None), match("robust_accuracy", 8 / 255, 401), also=["no-clip"])
    honest = [of_numbers(match("robust_accuracy", epsilon, None)) for epsilon in (4 / 255, 8 / 255)]
    text = text_of(document(found, claims=[CLAIM | {"epsilon": 4 / 255}, OTHER_CLAIM | {"epsilon": 8 / 255}], honest=honest))
    assert "epsilon 4/255, 8/255, targeted none Reported at 4/255: 37%, that is 36.5 to 37.5 %, of 2,000 images." in text
    assert "Reported at 8/255: 0.2, that is 15 to 25 %" in text
    assert "8/255 robust accuracy all images 100 37.0 [28.2, 46.8] 0.0 yes" in text
    assert "37% robust accuracy 37.0 [28.2, 46.8] 0.0 any the right" in text
    assert "0.2 robust accuracy 37.0 [28.2, 46.8] 2.0 400" in text
    assert "The right attack gives all numbers within their sampling error, as robust accuracy;" in text


def test_several_numbers_at_one_budget() -> None:
    found = of_numbers(match("clean_accuracy", 8 / 255, None), match("robust_accuracy", 8 / 255, None))
    text = text_of(document(found, claims=[CLAIM | {"epsilon": 8 / 255}, OTHER_CLAIM | {"epsilon": 8 / 255}]))
    assert "epsilon 8/255, targeted none Reported: 37%," in text
    assert "The right attack gives all numbers, as clean accuracy and robust accuracy: nothing need be wrong with it." in text


def test_says_what_fits_because_n_is_small() -> None:
    found = [of_numbers(match("robust_accuracy", 8 / 255, limit)) for limit in (None, 401, 3_000_000)]
    text = text_of(document(*found))
    assert '2 of 3 fit only because n is small: with more images than "up to n", at equal rates, the number would not lie' in text
    assert all(f" {limit} the right" in text for limit in ("any", "400", "over 1 M"))
    assert "only because n is small" not in text_of(document(found[0]))


def test_a_cause_is_not_listed_again_with_another_mistake() -> None:
    also = ["no-clip + no-op", "train-mode", "train-mode + no-op"]
    assert "no-clip; the same count: train-mode " in text_of(document(combination("flip_rate", 0.0, "no-clip", also=also)))
