"""Sentences that the summaries of several documents share."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.text import count_text, model_text

INTERVAL_NOTE = (
    "Intervals: 95 % Wilson; the images are taken as a sample of their kind. They say nothing of other attacks or seeds."
)
LIMITATION_NOTE = "A model that FGSM fools is not robust. A model that FGSM does not fool may still not be robust."


def model_and_data_line(document: Document) -> str:
    """Return `resnet18 (standard) on 1,000 images of fashion-mnist`."""
    return f"{model_text(document['model'])} on {count_text(document['n'], 'image')} of {document['data']['spec']}"


def warning_sentences(document: Document) -> Iterator[str]:
    """Yield a sentence for each warning of a document."""
    return (f"Warning: {warning}" for warning in document["warnings"])


def closing_sentences(document: Document) -> Iterator[str]:
    """Yield what rates do not say, the warnings, and the reasons for which the numbers must not be used."""
    yield INTERVAL_NOTE
    yield LIMITATION_NOTE
    yield from warning_sentences(document)
    yield from invalid_sentences(document)


def invalid_sentences(document: Document) -> Iterator[str]:
    """Yield a sentence for each reason for which the numbers must not be used."""
    return (f"INVALID: {reason}" for reason in document["invalid_reasons"])
