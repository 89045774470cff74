"""Summary of a lock that was written: what it holds, and how it is used."""

from __future__ import annotations

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, model_and_data_line, warning_sentences
from robustbench_fgsm.report.tables.sheet import Cell, Section, Sheet, Summary
from robustbench_fgsm.report.tables.text import count_text, epsilon_text


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.locked/1` document."""
    rows: list[tuple[Cell, ...]] = [("clean", None, document["attacks"][0]["clean_accuracy"])]
    for attack in document["attacks"]:
        rule = None if attack["targeted"] == "none" else attack["targeted"]
        rates = zip(attack["epsilons"], attack["robust_accuracy"], strict=True)
        rows += [(epsilon_text(epsilon), rule, rate) for epsilon, rate in rates]
    sheet = Sheet("accuracy", "Accuracy in per cent", ("epsilon", "targeted", "right"), tuple(rows))
    closing = (
        INTERVAL_NOTE,
        f"{count_text(document['close'], 'image')} with a prediction that depends on rounding: a tie in every gate.",
        f"Commit {document['path']}, then: rfgsm gate NEW --baseline {document['path']}",
        *warning_sentences(document),
    )
    return Summary(
        (model_and_data_line(document),), (Section((sheet,)),), closing, f"WROTE {document['path']}: {document['bytes']:,} bytes."
    )
