"""What a reported number may be, in the terminal, readable at 80 columns, from the document that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.sheet import Sheet
from robustbench_fgsm.report.tables.terminal import LIMITATION_NOTE, count_text, epsilon_text, rate_text, render_sheet
from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID

MAX_LISTED_HYPOTHESES = 10
"""Of more explanations that fit, so many of the best are listed."""

MAX_LISTED_CAUSES = 2
"""Of more causes with the same count, so many are named."""

MAX_NEAREST_HYPOTHESES = 3
"""Where nothing fits, so many of the nearest are listed."""

DENOMINATORS = {
    "attack_success_rate": "right before",
    "accuracy_drop": "right before",
    "accuracy_of_correct": "right before",
}
"""What a definition is a share of, where not of all images."""


def render_explanation(document: Document) -> RenderableType:
    """The whole of an `rfgsm.explanation/1` document."""
    fitting = [found for found in document["explanations"] if found["fits"]]
    shown = fitting[:MAX_LISTED_HYPOTHESES] or nearest_hypotheses(document)
    title = "What fits, the best first" if fitting else "Nothing fits; the nearest"
    rest = len(fitting) - len(shown)
    prose = [*([f"{rest} more fit (all of them with --json)."] if rest > 0 else []), *mistake_descriptions(shown)]
    return Group(
        *map(Text, heading(document)),
        render_sheet(correct_attack_sheet(document)),
        _hypotheses_table(title, shown),
        *map(Text, prose),
        *_styled_closing(document, fitting),
    )


def heading(document: Document) -> list[str]:
    """What was measured, and what the claim stands for."""
    model, attack, claim = document["model"], document["attack"], document["claim"]
    return [
        f"{model['spec']} ({model['weights']}) on {count_text(document['n'], 'image')} of {document['data']['spec']}",
        f"FGSM, norm inf, epsilon {epsilon_text(attack['epsilon'])}, targeted {attack['targeted']}",
        f"Reported: {claim['text']}, that is {100 * claim['low']:g} to {100 * claim['high']:g} %, of {claim['n']:,} images.",
    ]


def correct_attack_sheet(document: Document) -> Sheet:
    """The right attack under each definition, and whether the claim fits it."""
    rows = tuple(
        (
            definition_text(found["definition"]),
            _denominator(document, found["definition"]),
            found["rate"]["n"],
            found["rate"],
            distance_text(found),
            "yes" if found["fits"] else "no",
        )
        for found in document["honest"]
    )
    return Sheet("Honest figures, in per cent", ("", "of", "n", "rate", "off by", "fits"), rows)


def nearest_hypotheses(document: Document) -> list[Document]:
    """The combinations that come closest to the claim."""
    near = [found for found in document["explanations"] if found["distance"] is not None]
    return sorted(near, key=lambda found: float(found["distance"]))[:MAX_NEAREST_HYPOTHESES]


def definition_text(definition: str) -> str:
    """The definition in words."""
    return definition.replace("_", " ")


def distance_text(hypothesis: Document) -> str:
    """How far the claim lies from the rate, in points of per cent; 0.0 within its rounding, `n/a` for 0/0."""
    return "n/a" if hypothesis["distance"] is None else f"{100 * hypothesis['distance']:.1f}"


def causes_text(hypothesis: Document) -> str:
    """The procedure, and others with the same count."""
    also = hypothesis["also"]
    more = f", and {len(also) - MAX_LISTED_CAUSES} more" if len(also) > MAX_LISTED_CAUSES else ""
    others = f"; the same count: {', '.join(also[:MAX_LISTED_CAUSES])}{more}" if also else ""
    return f"{hypothesis['name']}{others}"


def mistake_descriptions(hypotheses: list[Document]) -> Iterator[str]:
    """What the mistakes that stand first in a row are, and what to do instead."""
    for id_ in dict.fromkeys(id_ for found in hypotheses for id_ in found["mistakes"]):
        yield f"{id_}: {MISTAKE_BY_ID[id_].summary}. Instead: {MISTAKE_BY_ID[id_].remedy}."


def explanation_verdict(document: Document, fitting: list[Document]) -> str:
    """What it comes to, in a sentence or two."""
    honest = [found for found in fitting if not found["mistakes"]]
    exact = [definition_text(found["definition"]) for found in honest if found["distance"] == 0]
    tried = len(document["explanations"])
    if exact:
        return f"The right attack gives the number, as {' or '.join(exact)}: nothing need be wrong with it."
    if honest:
        others = sum(found["distance"] == 0 for found in fitting)
        near = " or ".join(definition_text(found["definition"]) for found in honest)
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
    targeted = document["attack"]["targeted"] != "none"
    if targeted and definition == "attack_success_rate":
        return "off target"
    return DENOMINATORS.get(definition, "all images")


def _hypotheses_table(title: str, shown: list[Document]) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("as", no_wrap=True)
    table.add_column("rate", no_wrap=True)
    table.add_column("off by", justify="right", no_wrap=True)
    table.add_column("made by")
    for found in shown:
        cells = (definition_text(found["definition"]), rate_text(found["rate"]), distance_text(found), causes_text(found))
        table.add_row(*map(Text, cells))
    return Padding(Group(Text(title, style="bold"), table), (1, 0, 1, 0))


def _styled_closing(document: Document, fitting: list[Document]) -> Iterator[Text]:
    test = document["test"]
    yield Text(f"Test: {test}.")
    yield Text("On the same images and weights there is no sampling error: there the right one is off by 0.0.")
    yield Text(LIMITATION_NOTE)
    for warning in document["warnings"]:
        yield Text(f"Warning: {warning}", style="yellow")
    yield Text(explanation_verdict(document, fitting), style="bold")
    for reason in document["invalid_reasons"]:
        yield Text(f"INVALID: {reason}", style="bold red")
