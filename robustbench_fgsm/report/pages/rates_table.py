"""Table of all rates by attack and budget, without columns that are empty or repeat another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.attacks_in_runs import ReportedAttack
from robustbench_fgsm.report.tables.text import epsilon_text, rate_text, starts_text


@dataclass(frozen=True)
class PageCell:
    """Cell of a table: its text and, for a number of the document, its place there and its kind, `rate` or `count`."""

    text: str = ""
    at: str = ""
    kind: str = ""


@dataclass(frozen=True)
class PageColumn:
    """Column of a table. key: its name in a CSV file."""

    key: str
    head: str
    is_number: bool = True


@dataclass(frozen=True)
class PageTable:
    """Columns and rows of a table of a page."""

    columns: tuple[PageColumn, ...]
    rows: tuple[tuple[PageCell, ...], ...]


COLUMNS = (
    PageColumn("attack", "attack", is_number=False),
    PageColumn("epsilon", "epsilon"),
    PageColumn("clean_accuracy", "accuracy before"),
    PageColumn("robust_accuracy", "robust accuracy"),
    PageColumn("worst_class", "worst class", is_number=False),
    PageColumn("worst_robust_accuracy", "its robust accuracy"),
    PageColumn("worst_n", "n"),
    PageColumn("worst_class_by_chance", "lowest by chance"),
    PageColumn("attack_success_rate", "attack success"),
    PageColumn("attack_success_n", "of"),
    PageColumn("flip_rate", "flip rate"),
    PageColumn("target_hit_rate", "target hits"),
    PageColumn("accuracy_drop", "accuracy drop"),
)


def rates_table(subjects: Sequence[ReportedAttack]) -> PageTable:
    """Return the rates of each attack at each budget; the name of the attack is left out if there is one."""
    rows = [tuple(_row(subject, *side)) for subject in subjects for side in _sides(subject)]
    columns = list(zip(*rows, strict=True))
    texts = [tuple(cell.text for cell in column) for column in columns]
    rates = [place for place, column in enumerate(columns) if any(cell.kind == "rate" for cell in column)]
    repeated = {place for place in rates if texts[place] in (texts[before] for before in rates if before < place)}
    kept = [
        place
        for place in range(len(COLUMNS))
        if (place or len(subjects) > 1) and any(texts[place]) and (place not in repeated or COLUMNS[place].key == "robust_accuracy")
    ]
    return PageTable(tuple(COLUMNS[place] for place in kept), tuple(tuple(row[place] for place in kept) for row in rows))


def _sides(subject: ReportedAttack) -> Iterator[tuple[str, str, Document]]:
    """Yield the path, the budget with its kind of gradient, and the rates of each row."""
    for place, at in enumerate(subject.evaluation["epsilons"]):
        yield f"epsilons/{place}/", epsilon_text(at["epsilon"]), at
        if "stable" in at:
            yield f"epsilons/{place}/stable/", f"{epsilon_text(at['epsilon'])}, stable", at["stable"]


def _row(subject: ReportedAttack, path: str, budget: str, side: Document) -> Iterator[PageCell]:
    def rate(found: Document | None, at: str) -> PageCell:
        return PageCell() if found is None else PageCell(rate_text(found), subject.pointer(at), "rate")

    evaluation = subject.evaluation
    yield PageCell(f"{subject.name}{starts_text(evaluation['attack'])}")
    yield PageCell(budget)
    yield rate(evaluation["clean"]["accuracy"], "clean/accuracy")
    yield rate(side["robust_accuracy"], f"{path}robust_accuracy")
    if side["worst_class"] is None:
        yield from (PageCell(), PageCell(), PageCell())
    else:
        worst, at = side["per_class"][side["worst_class"]], f"{path}per_class/{side['worst_class']}/"
        yield PageCell(worst["name"])
        yield rate(worst["robust_accuracy"], f"{at}robust_accuracy")
        yield PageCell(f"{worst['n']:,}", subject.pointer(f"{at}n"), "count")
    chance = side.get("worst_class_by_chance")
    yield PageCell(rate_text(chance) if chance else "")
    success = side["attack_success_rate"]
    yield rate(success, f"{path}attack_success_rate")
    yield PageCell(f"{success['n']:,}", subject.pointer(f"{path}attack_success_rate/n"), "count")
    for key in ("flip_rate", "target_hit_rate", "accuracy_drop"):
        yield rate(side[key], f"{path}{key}")
