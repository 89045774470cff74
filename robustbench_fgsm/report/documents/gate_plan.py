"""Summary of a planned gate: the images that each criterion needs, and the drops that the pilot's images show."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.sentences import invalid_sentences, warning_sentences
from robustbench_fgsm.report.tables.sheet import Cell, Section, Sheet, Summary
from robustbench_fgsm.report.tables.text import count_text, epsilon_text, model_text, rate_text

MAX_CLASS_ROWS = 12
"""Most rows of the table of classes."""


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.gate-plan/1` document."""
    pilots = tuple(f"Pilot: {model_text(side['model'])}, {side['path']}" for side in document["pilots"])
    images = f"{count_text(document['n'], 'image')} of {document['data']['spec']}"
    heading = (*pilots, f"On {images}; FGSM, norm {document['attacks'][0]['norm']}")
    sheets = (*(_sheet(document, budget) for budget in document["budgets"]), *_class_sheets(document))
    return Summary(heading, (Section(sheets),), tuple(_closing(document)), _verdict(document))


def _place(budget: Document) -> str:
    rule = "" if budget["targeted"] == "none" else f", targeted {budget['targeted']}"
    return f"epsilon {epsilon_text(budget['epsilon'])}{rule}"


def _sheet(document: Document, budget: Document) -> Sheet:
    """Return the images that each criterion needs for each drop at one budget, and the smallest drop that n images show."""
    plans = budget["criteria"]
    rows: list[tuple[Cell, ...]] = []
    for at, drop in enumerate(document["drops"]):
        shift = budget["shifts"][at]
        needed = (_count(plan["needed"][at]) for plan in plans)
        rows.append((f"{100 * drop:g} points", *needed, "" if shift is None else f"{255 * shift:.2f}"))
    smallest = (_points(plan["smallest"]) for plan in plans)
    rows.append((f"shown by {document['n']:,}", *smallest, ""))
    title = f"Images needed at {_place(budget)}, from a robust accuracy of {rate_text(budget['accuracy'])} %"
    columns = ("true drop", *(plan["criterion"] for plan in plans), "shift in 1/255")
    return Sheet(f"needed_{epsilon_text(budget['epsilon']).replace('/', '_')}_{budget['targeted']}", title, columns, tuple(rows))


def _class_sheets(document: Document) -> Iterator[Sheet]:
    """Yield the smallest drop that the images of each class show, at the budget of the verdict, the hardest classes first."""
    whole = _last_budget(document)
    found = [one for one in document["classes"] if all(one[key] == whole[key] for key in ("targeted", "epsilon"))]
    if not found:
        return
    hardest = sorted(found, key=lambda one: one["criteria"][1]["smallest"] or 2.0, reverse=True)
    some = f"; the {MAX_CLASS_ROWS} hardest (all with --json)" if len(found) > MAX_CLASS_ROWS else ""
    rows: list[tuple[Cell, ...]] = [
        (one["name"], one["accuracy"]["n"], one["accuracy"], *(_points(plan["smallest"]) for plan in one["criteria"]))
        for one in hardest[:MAX_CLASS_ROWS]
    ]
    columns = ("class", "n", "accuracy %", *(plan["criterion"] for plan in whole["criteria"]))
    yield Sheet("classes", f"Smallest drop that the images of a class show at {_place(whole)}{some}", columns, tuple(rows))


def _count(images: int | None) -> str:
    return "n/a" if images is None else f"{images:,}"


def _points(drop: float | None) -> str:
    return "none" if drop is None else f"{100 * drop:.1f} points"


def _closing(document: Document) -> Iterator[str]:
    allowed = f"a drop of more than {100 * document['max_drop']:g} points"
    yield (
        f"Images with which a gate shows {allowed} over all images in {100 * document['power']:g} % of cases. Each test has level "
        f"{document['level']:.2g}: Holm's first level over all classes and budgets."
    )
    paired = len(document["pilots"]) > 1
    if not paired:
        yield "McNemar: the least possible number, if no image is gained. A second pilot run shows how many are."
    names = {plan["criterion"] for budget in document["budgets"] for plan in budget["criteria"]}
    if "distance" in names:
        yield (
            f"Distance: shows a decrease of more than {255 * document['max_decrease']:g}/255, if all distances shift equally, by "
            "the shift that gives the drop, and scatter as between the pilots."
        )
    else:
        yield "Distance needs two pilot runs measured with --distance."
    yield from warning_sentences(document)
    yield from invalid_sentences(document)


def _last_budget(document: Document) -> Document:
    found: Document = max(document["budgets"], key=lambda one: float(one["epsilon"]))
    return found


def _verdict(document: Document) -> str:
    """Return which drops cannot be seen with the images of the pilot, at the largest budget."""
    budget = _last_budget(document)
    parts = (f"{_points(plan['smallest'])} by {plan['criterion']}" for plan in budget["criteria"])
    return f"Smallest drop that {count_text(document['n'], 'image')} show at {_place(budget)}: {', '.join(parts)}."
