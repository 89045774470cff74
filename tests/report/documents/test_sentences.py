"""Sentences that several documents share."""

from __future__ import annotations

from robustbench_fgsm.report.documents.sentences import invalid_sentences, model_and_data_line, warning_sentences


def test_model_and_data_in_one_line() -> None:
    document = {"model": {"spec": "mlp300", "weights": "standard"}, "n": 1, "data": {"spec": "fashion-mnist"}}
    assert model_and_data_line(document) == "mlp300 (standard) on 1 image of fashion-mnist"


def test_warnings_and_reasons_are_sentences() -> None:
    document = {"warnings": ["a", "b"], "invalid_reasons": ["c"]}
    assert [*warning_sentences(document), *invalid_sentences(document)] == ["Warning: a", "Warning: b", "INVALID: c"]
