"""Results as tables that read well at 80 columns, from the same documents that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document as Document
from robustbench_fgsm.report.tables import sheet
from robustbench_fgsm.report.tables.sheet import Cell, Sheet

INTERVALS = "Intervals: 95 % Wilson; the images are taken as a sample of their kind. They say nothing of other attacks or seeds."
LIMITS = "FGSM is one step of one attack: what it fools is not robust, and what it does not fool may not be either."

STYLES = {
    "Warning": "yellow",
    "INVALID": "bold red",
    "FAILED": "bold red",
    "Failed": "bold red",
    "PASSED": "bold green",
}
"""Of a line of prose, by what stands before its colon."""


def comparison(document: Document) -> RenderableType:
    """The whole of an `rfgsm.comparison/1` document."""
    ours, classes = document["ours"], document["data"]["classes"]
    attack, model = document["attack"], document["model"]
    beside = [side for _, side in sheet.sides(document)]
    same = [side for side in beside if side["confusion"] == ours["confusion"]]
    others = [side for side in beside if side["confusion"] != ours["confusion"]]
    owners = ", ".join(["ours", *(side["name"] for side in same)])
    return Group(
        Text(
            f"{model['spec']} ({model['weights']}) on {several(document['n'], 'image')} of {document['data']['spec']}"
        ),
        Text(f"FGSM, norm {attack['norm']}, epsilon {epsilon_text(attack['epsilon'])}, targeted {attack['targeted']}"),
        Text(f"Clean accuracy {rate_text(ours['clean_accuracy'])} %, n={ours['clean_accuracy']['n']:,}."),
        sheet_table(sheet.agreement(document)),
        sheet_table(sheet.rates_and_time(document)),
        *map(Text, definitions(document)),
        confusion("Confusion before the attack", ours["clean_confusion"], classes),
        confusion(f"Confusion after it ({owners})", ours["confusion"], classes),
        *(confusion(f"Confusion after it ({side['name']})", side["confusion"], classes) for side in others),
        _per_class(document),
        *_closing(document),
    )


def definitions(document: Document) -> Iterator[str]:
    """What a column of a comparison's rates means for each library, with its n; and what a job is."""
    owners: dict[str, list[str]] = {}
    for side in document["references"]:
        own = side["own_success"]
        text = "none defined" if own is None else f"{own['definition']} (n={own['rate']['n']:,})"
        owners.setdefault(text, []).append(side["name"])
    meanings = (f"{', '.join(names)}: {text}" for text, names in owners.items())
    yield f"Own success: {'; '.join(meanings)}."
    yield "Job: predictions before, attack, predictions after; below: times ours."


def prose(lines: Iterable[str]) -> Iterator[Text]:
    """Sentences, a line each, with warnings and verdicts in colour."""
    return (Text(line, style=STYLES.get(line.partition(":")[0], "")) for line in lines)


def several(count: int, noun: str) -> str:
    """`1 image`, `1,000 images`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def epsilon_text(epsilon: float) -> str:
    """`8/255` where it is one, up to 1, else the number."""
    steps = round(epsilon * 255)
    return f"{steps}/255" if 0 < steps <= 255 and abs(epsilon * 255 - steps) < 1e-9 else f"{epsilon:g}"


def rate_text(rate: Document) -> str:
    """`12.3 [11.7, 12.9]` in per cent, without its n; `n/a` for 0/0."""
    if rate["value"] is None:
        return "n/a"
    interval = "" if rate["low"] is None else f" [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
    return f"{100 * rate['value']:.1f}{interval}"


def confusion(title: str, matrix: Any, classes: list[str]) -> RenderableType:
    """One confusion matrix, rows label; above twelve classes the pairs most often confused."""
    return sheet_table(sheet.matrix(title, matrix, classes))


def sheet_table(sheet: Sheet) -> RenderableType:
    """A sheet as a table; rates of a tall sheet with their intervals below them."""
    table = _table()
    table.padding = (0, 0, 0, 0 if sheet.diagonal else 1)
    for index, column in enumerate(sheet.columns):
        text = all(isinstance(row[index], str | None) for row in sheet.rows)
        left = text or any(isinstance(row[index], dict) for row in sheet.rows)
        width = (16 if index == 0 else 12) if sheet.tall and text else None
        least = 3 if sheet.diagonal else None
        table.add_column(
            Text(column), justify="left" if left else "right", no_wrap=True, max_width=width, min_width=least
        )
    for at, row in enumerate(sheet.rows):
        cells = [Text(str(cell) if sheet.diagonal else cell_text(cell, tall=sheet.tall)) for cell in row]
        if sheet.diagonal:
            cells[at + 1].stylize("bold")
        table.add_row(*cells)
    return _titled(sheet.title, table)


def cell_text(cell: Cell, *, tall: bool = False) -> str:
    """Counts with thousands separated, budgets by `epsilon_text`, rates by `rate_text`, or over two lines."""
    match cell:
        case None:
            return ""
        case str():
            return cell
        case int():
            return f"{cell:,}"
        case float():
            return epsilon_text(cell)
    text = rate_text(cell)
    return text.replace(" [", "\n").replace(", ", "-").removesuffix("]") if tall else text


def _others(document: Document) -> list[Document]:
    candidate = document["candidate"]
    return [*document["references"], *([] if candidate is None else [candidate])]


def _title(side: Document) -> str:
    return f"{side['name']} {side['version']}".rstrip()


def _successes(side: Document) -> list[Document]:
    return [result["attack_success_rate"] for result in side["per_class"]]


def _per_class(document: Document) -> RenderableType:
    classes, ours = document["data"]["classes"], document["ours"]
    beside = [side for side in _others(document) if side["pixels"]]
    others = [side for side in beside if _successes(side) != _successes(ours)]
    owners = ", ".join(["ours", *(side["name"] for side in beside if side not in others)])
    shown, which = sheet.least_robust(ours["per_class"], "--json")
    title = f"Attack success by class, in per cent of the n images that can be fooled{which}"
    table = _table()
    table.add_column("", no_wrap=True, max_width=16)
    table.add_column("n", justify="right", no_wrap=True)
    for name in (owners, *(side["name"] for side in others)):
        table.add_column(Text(name), overflow="fold")
    table.add_column("mistaken for", no_wrap=True, max_width=12)
    for result in shown:
        label, wrong = result["label"], result["most_common_wrong"]
        cells = (rate_text(_successes(side)[label]) for side in (ours, *others))
        n = str(result["attack_success_rate"]["n"])
        table.add_row(Text(f"{label} {classes[label]}"), n, *cells, Text("" if wrong is None else classes[wrong]))
    return _titled(title, table)


def closing(document: Document) -> list[str]:
    """The sentences below the tables of a comparison."""
    return [line.plain for line in _closing(document) if line.plain]


def _closing(document: Document) -> Iterator[Text]:
    present = [result for result in document["ours"]["per_class"] if result["n"]]
    worst = min(present, key=lambda result: result["robust_accuracy"]["value"])
    yield Text(
        f"Worst class: {worst['name']}, robust accuracy {rate_text(worst['robust_accuracy'])} %, n={worst['n']}."
    )
    yield Text(INTERVALS)
    yield Text(LIMITS)
    for warning in document["warnings"]:
        yield Text(f"Warning: {warning}", style="yellow")
    for other in _others(document):
        yield Text("")
        yield _verdict(other, document)
        for reason in other["reasons"]:
            yield Text(f"  {reason}", style="red")
        for finding in other.get("diagnosis", []):
            yield Text(f"  {finding['cause']}: {finding['evidence']}. {finding['remedy']}")
    for reason in document["invalid_reasons"]:
        yield Text(f"INVALID: {reason}", style="bold red")


def _verdict(reference: Document, document: Document) -> Text:
    if not reference["pixels"]:
        return Text(f"DISAGREE: ours and {_title(reference)}: no images to compare.", style="bold red")
    differing, largest = reference["pixels_differing"], reference["max_abs_difference"]
    found = f"{differing:,} of {reference['pixels']:,} pixels differ"
    if largest != 0:
        found += " (some are not finite)" if largest is None else f" (largest difference {largest:.2g})"
    if differing and document["attack"]["norm"] == "inf":
        found += f", {reference['pixels_explained']:,} explained by rounding, {reference['pixels_tied']:,} by ties"
    verdict = reference["verdict"].upper()
    predictions = f"{reference['predictions_agree']:,} of {document['n']:,} predictions agree"
    text = f"{verdict}: ours and {_title(reference)}: {found}; {predictions}."
    return Text(text, style="bold green" if verdict == "AGREE" else "bold red")


def _titled(title: str, table: Table) -> RenderableType:
    """A title above a table; the table's own would wrap at the width of the table."""
    return Padding(Group(Text(title, style="bold"), table), (1, 0, 0, 0))


def _table() -> Table:
    return Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
