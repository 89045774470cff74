"""Summary of saved adversarial images."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.evaluation import closing, heading, rates_by_side_sheet
from robustbench_fgsm.report.tables.sheet import Section, Summary
from robustbench_fgsm.report.tables.text import count_text, rate_text


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.attack/1` document: the rates as computed and, if images were rounded, in 8 bits."""
    sides = {"as computed": document["adversarial"]}
    if document["rounded"] is not None:
        sides["in 8 bits"] = document["rounded"]
    shards = count_text(len(document["files"]), f"{document['output']['format']} shard")
    return Summary(
        heading(document | {"epsilons": [document["attack"]]}),
        (Section((rates_by_side_sheet(document, sides),)),),
        (*rounding_sentences(document), *closing(document)),
        f"Saved {count_text(document['n'], 'image')} in {shards}.",
    )


def rounding_sentences(document: Document) -> Iterator[str]:
    """Yield what rounding to 8 bits changed, if images were rounded."""
    rounded = document.get("rounded")
    if rounded is not None:
        yield (
            f"In 8 bits, robust accuracy is {rate_text(rounded['robust_accuracy'])}. "
            f"Rounding changed {rounded['predictions_changed']:,} of {document['n']:,} predictions; "
            f"{rounded['pixels_outside']:,} of {rounded['pixels']:,} pixels have no 8-bit value within the budget."
        )
