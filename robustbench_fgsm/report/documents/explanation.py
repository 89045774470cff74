"""Summary of an explanation: what reported numbers may be."""

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

LARGE_N = 1_000_000
"""Larger numbers of images are not printed in full."""


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.explanation/1` document."""
    fitting = [found for found in document["explanations"] if found["fits"]]
    shown = fitting[:MAX_LISTED_HYPOTHESES] or _nearest_hypotheses(document)
    left_out = len(fitting) - len(shown)
    more = [f"{left_out} more fit (all of them with --json)."] if left_out > 0 else []
    sheets = (_correct_attack_sheet(document), _hypotheses_sheet(document, shown, is_fit=bool(fitting)))
    section = Section(sheets, (*more, *_mistake_descriptions(shown)))
    return Summary(_heading(document), (section,), tuple(_closing(document, fitting)))


def _claims(document: Document) -> list[Document]:
    """Return the reported numbers with their budgets; older documents have one."""
    claims: list[Document] = document.get("claims") or [document["claim"] | {"epsilon": document["attack"]["epsilon"]}]
    return claims


def _numbers(document: Document, hypothesis: Document) -> list[Document]:
    """Return the rate of a hypothesis beside each reported number; older documents have one."""
    numbers: list[Document] = hypothesis.get("numbers") or [hypothesis | {"epsilon": document["attack"]["epsilon"]}]
    return numbers


def _budgets(document: Document) -> list[float]:
    return list(dict.fromkeys(claim["epsilon"] for claim in _claims(document)))


def _heading(document: Document) -> tuple[str, ...]:
    claims, budgets = _claims(document), _budgets(document)
    places = [f" at {epsilon_text(claim['epsilon'])}" if len(budgets) > 1 else "" for claim in claims]
    return (
        model_and_data_line(document),
        f"FGSM, norm inf, epsilon {', '.join(map(epsilon_text, budgets))}, targeted {document['attack']['targeted']}",
        *(f"Reported{place}: {_claim_text(claim)}" for claim, place in zip(claims, places, strict=True)),
    )


def _claim_text(claim: Document) -> str:
    return f"{claim['text']}, that is {100 * claim['low']:g} to {100 * claim['high']:g} %, of {claim['n']:,} images."


def _correct_attack_sheet(document: Document) -> Sheet:
    """Return the right attack under each definition at each budget, and whether a claim at this budget fits it."""
    several = len(_budgets(document)) > 1
    rows = tuple(
        (
            *([epsilon_text(_numbers(document, found)[0]["epsilon"])] if several else []),
            _definition_text(found["definition"]),
            _denominator(document, found["definition"]),
            found["rate"]["n"],
            found["rate"],
            _distance_text(found),
            "yes" if found["fits"] else "no",
        )
        for found in document["honest"]
    )
    columns = (*(["epsilon"] if several else []), "", "of", "n", "rate", "off by", "fits")
    return Sheet("correct_attack", "Honest figures, in per cent", columns, rows)


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
    """Return the variant of the attack, and others with an equal count, without those that only add a mistake to one of them."""
    names = [hypothesis["name"], *hypothesis["also"]]
    also = [name for name in names[1:] if not any(name.startswith(f"{other} + ") for other in names)]
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
    exact = [_definitions_text(document, found) for found in honest if found["distance"] == 0]
    tried, one = len(document["explanations"]), len(_claims(document)) == 1
    number, their = ("the number", "its") if one else ("all numbers", "their")
    if exact:
        return f"The right attack gives {number}, as {' or '.join(exact)}: nothing need be wrong with it."
    if honest:
        others = sum(found["distance"] == 0 for found in fitting)
        near = " or ".join(_definitions_text(document, found) for found in honest)
        return (
            f"The right attack gives {number} within {their} sampling error, as {near}; "
            f"{others} of {tried} combinations, each with a mistake, give {'it' if one else 'them'} to {their} digits."
        )
    if fitting:
        return (
            f"The right attack does not give {number}; {len(fitting)} of {tried} combinations, each with a mistake, do. "
            "A fit is a suspicion and no proof: ask how the number was made."
        )
    return f"None of {tried} combinations gives {number}: other weights, images or epsilon, or an unknown mistake."


def _definitions_text(document: Document, hypothesis: Document) -> str:
    """Return the definitions of all numbers in words, each once."""
    return " and ".join(dict.fromkeys(_definition_text(number["definition"]) for number in _numbers(document, hypothesis)))


def _sampling_sentences(fitting: list[Document]) -> Iterator[str]:
    """Yield how many combinations fit only because there are not more images."""
    inexact = [found["excluded_from_n"] for found in fitting if found.get("excluded_from_n") is not None]
    if inexact:
        fit = "fits" if len(inexact) == 1 else "fit"
        yield (
            f'{len(inexact)} of {len(fitting)} {fit} only because n is small: with more images than "up to n", '
            "at equal rates, the number would not lie within the sampling error."
        )


def _denominator(document: Document, definition: str) -> str:
    if definition == "attack_success_rate":
        return success_denominator(document["attack"])
    return "right before" if definition in ("accuracy_drop", "accuracy_of_correct") else "all images"


def _hypotheses_sheet(document: Document, shown: list[Document], *, is_fit: bool) -> Sheet:
    """Return one row for each hypothesis and reported number; only the first row of a hypothesis has its causes."""
    claims = _claims(document)
    several = len(claims) > 1
    rows = tuple(
        (
            *([claim["text"]] if several else []),
            _definition_text(number["definition"]),
            rate_text(number["rate"]),
            _distance_text(number),
            *([_largest_n_text(number)] if is_fit else []),
            "" if index else _causes_text(found),
        )
        for found in shown
        for index, (claim, number) in enumerate(zip(claims, _numbers(document, found), strict=True))
    )
    title = "What fits, exact matches first" if is_fit else "Nothing fits; the nearest"
    columns = (*(["number"] if several else []), "as", "rate", "off by", *(["up to n"] if is_fit else []), "made by")
    return Sheet("explanations", title, columns, rows, long_text="wrap")


def _largest_n_text(number: Document) -> str:
    """Return up to how many images a rate fits: `any` if it lies within the rounding of the number."""
    excluded_from = number.get("excluded_from_n")
    if excluded_from is None:
        return "any"
    return f"{excluded_from - 1:,}" if excluded_from <= LARGE_N else "over 1 M"


def _closing(document: Document, fitting: list[Document]) -> Iterator[str]:
    yield f"Test: {document['test']}."
    yield "On the same images and weights there is no sampling error: there the right one is off by 0.0."
    yield from _sampling_sentences(fitting)
    yield LIMITATION_NOTE
    yield from warning_sentences(document)
    yield _verdict(document, fitting)
    yield from invalid_sentences(document)
