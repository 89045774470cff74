"""Summary of a check of saved adversarial images."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.evaluation import heading
from robustbench_fgsm.report.documents.sentences import warning_sentences
from robustbench_fgsm.report.tables.sheet import Summary


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.attack-check/1` document."""
    shown = document | {"n": document["data"]["n"], "epsilons": [document["attack"]]}
    mismatches = (f"Mismatch: {one['where']}: expected {one['expected']}, found {one['found']}" for one in document["mismatches"])
    closing = (*_replay_sentences(document), *warning_sentences(document), *mismatches)
    return Summary(heading(shown), (), closing, f"{document['verdict'].upper()}.")


def _replay_sentences(document: Document) -> Iterator[str]:
    replay, shards = document["replay"], document["shards"]
    yield f"Whole shards: {shards['intact']:,} of {shards['count']:,}."
    if not replay["n"]:
        yield "No image was crafted again."
        return
    yield (
        f"Crafted again: {replay['images_equal']:,} of {replay['n']:,} images are equal to the last bit, "
        f"{replay['pixels_differing']:,} of {replay['pixels']:,} pixels differ, "
        f"{replay['predictions_agree']:,} of {replay['n']:,} predictions agree."
    )
