"""Summary of an explanation: what a reported number may be."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.sentences import LIMITATION_NOTE, invalid_sentences, model_and_data_line, warning_sentences
from robustbench_fgsm.report.tables.sheet import Section, Sheet, Summary
from robustbench_fgsm.report.tables.text import epsilon_text, rate_text, success_denominator
from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID

MAX_LISTED_HYPOTHESES = 10
"""Most fitting explanations in the table."""

MAX_LISTED_CAUSES = 2
"""Most causes with one count that are named."""

MAX_NEAREST_HYPOTHESES = 3
"""Most explanations in the table if nothing fits."""


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.explanation/1` document."""
    fitting = [found for found in document["explanations"] if found["fits"]]
    shown = fitting[:MAX_LISTED_HYPOTHESES] or _nearest_hypotheses(document)
    left_out = len(fitting) - len(shown)
    more = [f"{left_out} more fit (all of them with --json)."] if left_out > 0 else []
    sheets = (_correct_attack_sheet(document), _hypotheses_sheet(shown, is_fit=bool(fitting)))
    section = Section(sheets, (*more, *_mistake_descriptions(shown)))
    return Summary(_heading(document), (section,), tuple(_closing(document, fitting)))


def _heading(document: Document) -> tuple[str, ...]:
    attack, claim = document["attack"], document["claim"]
    return (
        model_and_data_line(document),
        f"FGSM, norm inf, epsilon {epsilon_text(attack['epsilon'])}, targeted {attack['targeted']}",
        f"Reported: {claim['text']}, that is {100 * claim['low']:g} to {100 * claim['high']:g} %, of {claim['n']:,} images.",
    )


def _correct_attack_sheet(document: Document) -> Sheet:
    """Return the right attack under each definition, and whether the claim fits it."""
    rows = tuple(
        (
            _definition_text(found["definition"]),
            _denominator(document, found["definition"]),
            found["rate"]["n"],
            found["rate"],
            _distance_text(found),
            "yes" if found["fits"] else "no",
        )
        for found in document["honest"]
    )
    return Sheet("correct_attack", "Honest figures, in per cent", ("", "of", "n", "rate", "off by", "fits"), rows)


def _nearest_hypotheses(document: Document) -> list[Document]:
    """Return the explanations whose rate is nearest to the claim."""
    near = [found for found in document["explanations"] if found["distance"] is not None]
    return sorted(near, key=lambda found: float(found["distance"]))[:MAX_NEAREST_HYPOTHESES]


def _definition_text(definition: str) -> str:
    """Return a definition in words."""
    return definition.replace("_", " ")


def _distance_text(hypothesis: Document) -> str:
    """Return the distance of a rate from the claim in percentage points: 0.0 within its rounding, `n/a` for 0/0."""
    return "n/a" if hypothesis["distance"] is None else f"{100 * hypothesis['distance']:.1f}"


def _causes_text(hypothesis: Document) -> str:
    """Return the variant of the attack, and other variants with an equal count."""
    also = hypothesis["also"]
    more = f", and {len(also) - MAX_LISTED_CAUSES} more" if len(also) > MAX_LISTED_CAUSES else ""
    others = f"; the same count: {', '.join(also[:MAX_LISTED_CAUSES])}{more}" if also else ""
    return f"{hypothesis['name']}{others}"


def _mistake_descriptions(hypotheses: list[Document]) -> Iterator[str]:
    """Yield each listed mistake in words, with its remedy."""
    for id_ in dict.fromkeys(id_ for found in hypotheses for id_ in found["mistakes"]):
        yield f"{id_}: {MISTAKE_BY_ID[id_].summary}. Instead: {MISTAKE_BY_ID[id_].remedy}."


def _verdict(document: Document, fitting: list[Document]) -> str:
    """Return the conclusion in a sentence or two."""
    honest = [found for found in fitting if not found["mistakes"]]
    exact = [_definition_text(found["definition"]) for found in honest if found["distance"] == 0]
    tried = len(document["explanations"])
    if exact:
        return f"The right attack gives the number, as {' or '.join(exact)}: nothing need be wrong with it."
    if honest:
        others = sum(found["distance"] == 0 for found in fitting)
        near = " or ".join(_definition_text(found["definition"]) for found in honest)
        return (
            f"The right attack gives the number within its sampling error, as {near}; "
            f"{others} of {tried} combinations, each with a mistake, give it to its digits."
        )
    if fitting:
        return (
            f"The right attack does not give the number; {len(fitting)} of {tried} combinations, each with a mistake, do. "
            "A fit is a suspicion and no proof: ask how the number was made."
        )
    return f"None of {tried} combinations gives the number: other weights, images or epsilon, or an unknown mistake."


def _denominator(document: Document, definition: str) -> str:
    if definition == "attack_success_rate":
        return success_denominator(document["attack"])
    return "right before" if definition in ("accuracy_drop", "accuracy_of_correct") else "all images"


def _hypotheses_sheet(shown: list[Document], *, is_fit: bool) -> Sheet:
    rows = tuple(
        (_definition_text(found["definition"]), rate_text(found["rate"]), _distance_text(found), _causes_text(found))
        for found in shown
    )
    title = "What fits, the best first" if is_fit else "Nothing fits; the nearest"
    return Sheet("explanations", title, ("as", "rate", "off by", "made by"), rows, long_text="wrap")


def _closing(document: Document, fitting: list[Document]) -> Iterator[str]:
    yield f"Test: {document['test']}."
    yield "On the same images and weights there is no sampling error: there the right one is off by 0.0."
    yield LIMITATION_NOTE
    yield from warning_sentences(document)
    yield _verdict(document, fitting)
    yield from invalid_sentences(document)
