"""TODO docstring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables import sheet
from robustbench_fgsm.report.tables.sheet import Cell, Sheet
from robustbench_fgsm.report.tables.terminal import (
    INTERVAL_NOTE,
    LIMITATION_NOTE,
    count_text,
    epsilon_text,
    new_table,
    rate_text,
    render_sheet,
    with_title,
)


def named_opponents(comparison: Document) -> list[tuple[str, Document]]:
    """References by name, then the candidate, which may have a long one, as `candidate`; without one that failed."""
    found = [(side["name"], side) for side in comparison["references"]]
    candidate = comparison["candidate"]
    return found if candidate is None or not candidate["pixels"] else [*found, ("candidate", candidate)]


def agreement_sheet(comparison: Document) -> Sheet:
    """How each other side agrees with our images and predictions; counts, so one n serves them all."""
    others = named_opponents(comparison)
    pixels = max((side["pixels"] for _, side in others), default=0)
    discordant = ("fooled\nby ours\nonly", "fooled\nby theirs\nonly")
    columns = ("", "", "\npixels\ndiffer", "\nmax\nulps", "\nclasses\nagree", *discordant)
    rows = tuple(_agreement_row(name, side) for name, side in others)
    title = f"Agreement with ours, on {pixels:,} pixels of {comparison['n']:,} images"
    return Sheet(title, columns, rows, intervals_below=True)


def _agreement_row(name: str, side: Document) -> tuple[Cell, ...]:
    counts = (side["pixels_differing"], side["max_ulps"], side["predictions_agree"])
    return name, side["version"], *counts, side["discordant"]["ours_only"], side["discordant"]["theirs_only"]


def rates_and_time_sheet(comparison: Document) -> Sheet:
    """Rates and seconds of each side, ours first, with the job's ratio to ours; own success is what a library calls so."""
    rates = ("robust\naccuracy", "attack\nsuccess", "\nof", "own\nsuccess")
    named = [("ours", comparison["ours"])]
    named += [(f"{name}\n{side['version']}".rstrip(), side) for name, side in named_opponents(comparison)]
    title = f"In per cent of {comparison['n']:,} images; attack success of those that can be fooled"
    rows = tuple(_rates_row(name, side) for name, side in named)
    return Sheet(title, ("", *rates, "attack\nseconds", "job\nseconds"), rows, intervals_below=True)


def _rates_row(name: str, side: Document) -> tuple[Cell, ...]:
    own, success = side.get("own_success"), side["attack_success_rate"]
    attack, job = (f"{side['seconds'][key]:7.2f}" if side["seconds"]["job"] else "n/a" for key in ("attack", "job"))
    ratio = f"\n{side['speedup']:6.2f}x" if side.get("speedup") is not None else ""
    return name, side["robust_accuracy"], success, success["n"], own and own["rate"], attack, job + ratio


def render_comparison(document: Document) -> RenderableType:
    """The whole of an `rfgsm.comparison/1` document."""
    ours, classes = document["ours"], document["data"]["classes"]
    attack, model = document["attack"], document["model"]
    beside = [side for _, side in named_opponents(document)]
    same = [side for side in beside if side["confusion"] == ours["confusion"]]
    others = [side for side in beside if side["confusion"] != ours["confusion"]]
    owners = ", ".join(["ours", *(side["name"] for side in same)])
    return Group(
        Text(f"{model['spec']} ({model['weights']}) on {count_text(document['n'], 'image')} of {document['data']['spec']}"),
        Text(f"FGSM, norm {attack['norm']}, epsilon {epsilon_text(attack['epsilon'])}, targeted {attack['targeted']}"),
        Text(f"Clean accuracy {rate_text(ours['clean_accuracy'])} %, n={ours['clean_accuracy']['n']:,}."),
        render_sheet(agreement_sheet(document)),
        render_sheet(rates_and_time_sheet(document)),
        *map(Text, column_definitions(document)),
        confusion_table("Confusion before the attack", ours["clean_confusion"], classes),
        confusion_table(f"Confusion after it ({owners})", ours["confusion"], classes),
        *(confusion_table(f"Confusion after it ({side['name']})", side["confusion"], classes) for side in others),
        _class_table(document),
        *_styled_closing(document),
    )


def column_definitions(document: Document) -> Iterator[str]:
    """What a column of a comparison's rates means for each library, with its n; and what a job is."""
    owners: dict[str, list[str]] = {}
    for side in document["references"]:
        own = side["own_success"]
        text = "none defined" if own is None else f"{own['definition']} (n={own['rate']['n']:,})"
        owners.setdefault(text, []).append(side["name"])
    meanings = (f"{', '.join(names)}: {text}" for text, names in owners.items())
    yield f"Own success: {'; '.join(meanings)}."
    yield "Job: predictions before, attack, predictions after; below: times ours."


def confusion_table(title: str, matrix: Any, classes: list[str]) -> RenderableType:
    """One confusion matrix, rows label; above twelve classes the pairs most often confused."""
    return render_sheet(sheet.matrix_sheet(title, matrix, classes))


def _opponents(document: Document) -> list[Document]:
    candidate = document["candidate"]
    return [*document["references"], *([] if candidate is None else [candidate])]


def _opponent_label(side: Document) -> str:
    return f"{side['name']} {side['version']}".rstrip()


def _class_success_rates(side: Document) -> list[Document]:
    return [result["attack_success_rate"] for result in side["per_class"]]


def _class_table(document: Document) -> RenderableType:
    classes, ours = document["data"]["classes"], document["ours"]
    beside = [side for side in _opponents(document) if side["pixels"]]
    others = [side for side in beside if _class_success_rates(side) != _class_success_rates(ours)]
    owners = ", ".join(["ours", *(side["name"] for side in beside if side not in others)])
    shown, which = sheet.least_robust_classes(ours["per_class"], "--json")
    title = f"Attack success by class, in per cent of the n images that can be fooled{which}"
    table = new_table()
    table.add_column("", no_wrap=True, max_width=16)
    table.add_column("n", justify="right", no_wrap=True)
    for name in (owners, *(side["name"] for side in others)):
        table.add_column(Text(name), overflow="fold")
    table.add_column("mistaken for", no_wrap=True, max_width=12)
    for result in shown:
        label, wrong = result["label"], result["most_common_wrong"]
        cells = (rate_text(_class_success_rates(side)[label]) for side in (ours, *others))
        n = str(result["attack_success_rate"]["n"])
        table.add_row(Text(f"{label} {classes[label]}"), n, *cells, Text("" if wrong is None else classes[wrong]))
    return with_title(title, table)


def closing(document: Document) -> list[str]:
    """The sentences below the tables of a comparison."""
    return [line.plain for line in _styled_closing(document) if line.plain]


def _styled_closing(document: Document) -> Iterator[Text]:
    present = [result for result in document["ours"]["per_class"] if result["n"]]
    worst = min(present, key=lambda result: result["robust_accuracy"]["value"])
    yield Text(f"Worst class: {worst['name']}, robust accuracy {rate_text(worst['robust_accuracy'])} %, n={worst['n']}.")
    yield Text(INTERVAL_NOTE)
    yield Text(LIMITATION_NOTE)
    for warning in document["warnings"]:
        yield Text(f"Warning: {warning}", style="yellow")
    for other in _opponents(document):
        yield Text("")
        yield _agreement_verdict(other, document)
        for reason in other["reasons"]:
            yield Text(f"  {reason}", style="red")
        for finding in other.get("diagnosis", []):
            yield Text(f"  {finding['cause']}: {finding['evidence']}. {finding['remedy']}")
    for reason in document["invalid_reasons"]:
        yield Text(f"INVALID: {reason}", style="bold red")


def _agreement_verdict(reference: Document, document: Document) -> Text:
    if not reference["pixels"]:
        return Text(f"DISAGREE: ours and {_opponent_label(reference)}: no images to compare.", style="bold red")
    differing, largest = reference["pixels_differing"], reference["max_abs_difference"]
    found = f"{differing:,} of {reference['pixels']:,} pixels differ"
    if largest != 0:
        found += " (some are not finite)" if largest is None else f" (largest difference {largest:.2g})"
    if differing and document["attack"]["norm"] == "inf":
        found += f", {reference['pixels_explained']:,} explained by rounding, {reference['pixels_tied']:,} by ties"
    verdict = reference["verdict"].upper()
    predictions = f"{reference['predictions_agree']:,} of {document['n']:,} predictions agree"
    text = f"{verdict}: ours and {_opponent_label(reference)}: {found}; {predictions}."
    return Text(text, style="bold green" if verdict == "AGREE" else "bold red")
