"""Results as tables that read well at 80 columns, from the same documents that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDEST_MATRIX = 12
"""More classes than this do not fit 80 columns; the whole matrix stands in the JSON document."""

Document = dict[str, Any]

INTERVALS = "Intervals: 95 % Wilson; the images are taken as a sample of their kind. They say nothing of other attacks or seeds."
LIMITS = "FGSM is one step of one attack: what it fools is not robust, and what it does not fool may not be either."


def comparison(document: Document) -> RenderableType:
    """The whole of an `rfgsm.comparison/1` document."""
    ours, classes = document["ours"], document["data"]["classes"]
    attack, model = document["attack"], document["model"]
    same = [side for side in document["references"] if side["confusion"] == ours["confusion"]]
    others = [side for side in document["references"] if side["confusion"] != ours["confusion"]]
    owners = ", ".join(["ours", *(side["name"] for side in same)])
    return Group(
        Text(f"{model['spec']} ({model['weights']}) on {document['n']:,} images of {document['data']['spec']}"),
        Text(f"FGSM, norm {attack['norm']}, epsilon {epsilon_text(attack['epsilon'])}, targeted {attack['targeted']}"),
        _overview(document),
        confusion("Confusion before the attack", ours["clean_confusion"], classes),
        confusion(f"Confusion after it ({owners})", ours["confusion"], classes),
        *(confusion(f"Confusion after it ({side['name']})", side["confusion"], classes) for side in others),
        _per_class(document),
        *_closing(document),
    )


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
    if isinstance(matrix, dict) or len(classes) > WIDEST_MATRIX:
        return _most_confused(title, matrix, classes)
    table = _table(f"{title}: label down, prediction across")
    table.add_column("", no_wrap=True, max_width=16)
    for label in range(len(classes)):
        table.add_column(str(label), justify="right", min_width=3, no_wrap=True)
    for label, counts in enumerate(matrix):
        cells = (Text(str(count), style="bold" if column == label else "") for column, count in enumerate(counts))
        table.add_row(Text(f"{label} {classes[label]}"), *cells)
    return _spaced(table)


def _most_confused(title: str, matrix: Any, classes: list[str], most: int = 10) -> RenderableType:
    if isinstance(matrix, dict):
        cells = list(zip(matrix["counts"], matrix["rows"], matrix["columns"], strict=True))
    else:
        cells = [
            (count, row, column) for row, counts in enumerate(matrix) for column, count in enumerate(counts) if count
        ]
    pairs = sorted((cell for cell in cells if cell[1] != cell[2]), reverse=True)[:most]
    table = _table(f"{title}: the pairs most often confused (all of them with --json)")
    for column in ("label", "predicted", "images"):
        table.add_column(column, justify="right" if column == "images" else "left")
    for count, row, column in pairs:
        table.add_row(Text(classes[row]), Text(classes[column]), str(count))
    return _spaced(table)


def _overview(document: Document) -> RenderableType:
    table = _table("Rates in per cent, with their 95 % interval")
    sides = [
        ("ours", document["ours"]),
        *((f"{side['name']} {side['version']}", side) for side in document["references"]),
    ]
    rates = {
        "clean accuracy": "clean_accuracy",
        "robust accuracy": "robust_accuracy",
        "attack success": "attack_success_rate",
    }
    table.add_column("", no_wrap=True)
    for name, _ in sides:
        table.add_column(Text(name))
    for title, key in rates.items():
        table.add_row(title, *(f"{rate_text(side[key])} n={side[key]['n']}" for _, side in sides))
    table.add_row("attack", *(f"{side['seconds']['attack']:.1f} s" for _, side in sides))
    table.add_row("whole job", *(f"{side['seconds']['job']:.1f} s{_speedup(side)}" for _, side in sides))
    return _spaced(table)


def _speedup(side: Document) -> str:
    return f", {side['speedup']:.1f} times ours" if "speedup" in side else ""


def _per_class(document: Document) -> RenderableType:
    classes = document["data"]["classes"]
    sides = [("ours", document["ours"]), *((side["name"], side) for side in document["references"])]
    table = _table("Attack success by class, in per cent of the n images that can be fooled")
    table.add_column("", no_wrap=True, max_width=16)
    table.add_column("n", justify="right", no_wrap=True)
    for name, _ in sides:
        table.add_column(Text(name), no_wrap=True)
    table.add_column("mistaken for", no_wrap=True, max_width=12)
    for label, result in enumerate(document["ours"]["per_class"]):
        wrong = result["most_common_wrong"]
        cells = (rate_text(side["per_class"][label]["attack_success_rate"]) for _, side in sides)
        n = str(result["attack_success_rate"]["n"])
        table.add_row(Text(f"{label} {classes[label]}"), n, *cells, Text("" if wrong is None else classes[wrong]))
    return _spaced(table)


def _closing(document: Document) -> Iterator[RenderableType]:
    present = [result for result in document["ours"]["per_class"] if result["n"]]
    worst = min(present, key=lambda result: result["robust_accuracy"]["value"])
    yield Text(
        f"Worst class: {worst['name']}, robust accuracy {rate_text(worst['robust_accuracy'])} %, n={worst['n']}."
    )
    yield Text(INTERVALS)
    yield Text(LIMITS)
    for warning in document["warnings"]:
        yield Text(f"Warning: {warning}", style="yellow")
    for reference in document["references"]:
        yield Text("")
        yield _verdict(reference, document)
        for reason in reference["reasons"]:
            yield Text(f"  {reason}", style="red")
    for reason in document["invalid_reasons"]:
        yield Text(f"INVALID: {reason}", style="bold red")


def _verdict(reference: Document, document: Document) -> Text:
    differing, largest = reference["pixels_differing"], reference["max_abs_difference"]
    found = f"{differing:,} of {reference['pixels']:,} pixels differ"
    if largest:
        found += f" (largest difference {largest:.2g})"
    if differing and document["attack"]["norm"] == "inf":
        found += f", {reference['pixels_explained']:,} explained by rounding, {reference['pixels_tied']:,} by ties"
    verdict = reference["verdict"].upper()
    predictions = f"{reference['predictions_agree']:,} of {document['n']:,} predictions agree"
    text = f"{verdict}: ours and {reference['name']} {reference['version']}: {found}; {predictions}."
    return Text(text, style="bold green" if verdict == "AGREE" else "bold red")


def _table(title: str) -> Table:
    return Table(
        box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False, show_edge=False
    )


def _spaced(table: Table) -> RenderableType:
    return Padding(table, (1, 0, 0, 0))
