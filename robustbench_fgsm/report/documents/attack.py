"""Saved adversarial images, and whether they verify, as text that reads well at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.evaluation import closing, heading
from robustbench_fgsm.report.tables import sheet
from robustbench_fgsm.report.tables.sheet import Cell, Sheet
from robustbench_fgsm.report.tables.terminal import count_text, render_sheet, styled_lines


def render_saved_attack(document: Document) -> RenderableType:
    """The whole of an `rfgsm.attack/1` document."""
    shards = len(document["files"])
    saved = f"Saved {count_text(document['n'], 'image')} in {count_text(shards, document['output']['format'] + ' shard')}."
    return Group(
        *_heading_lines(document),
        render_sheet(saved_attack_sheet(document)),
        *styled_lines(["", *_rounding_note(document), *closing(document)]),
        Text(saved, style="bold green"),
    )


def render_attack_check(document: Document) -> RenderableType:
    """The whole of an `rfgsm.attack-check/1` document."""
    found, style = document["mismatches"], "bold red" if document["mismatches"] else "bold green"
    return Group(
        *_heading_lines(document | {"n": document["data"]["n"]}),
        *map(Text, _replay_lines(document)),
        *styled_lines(f"Warning: {warning}" for warning in document["warnings"]),
        *(Text(f"{place['where']}: expected {place['expected']}, found {place['found']}", "red") for place in found),
        Text(f"{document['verdict'].upper()}.", style=style),
    )


def saved_attack_sheet(document: Document) -> Sheet:
    """Every rate with what it is a share of, as computed and, where images were rounded, in 8 bits."""
    sides = {"as computed": document["adversarial"]}
    if document["rounded"] is not None:
        sides["in 8 bits"] = document["rounded"]
    clean = document["clean"]["accuracy"]
    rows: list[tuple[Cell, ...]] = [("clean accuracy", "all images", clean["n"], *[clean] * len(sides))]
    for name, of, key in (
        ("robust accuracy", "all images", "robust_accuracy"),
        ("attack success", sheet.success_denominator(document), "attack_success_rate"),
        ("flip rate", "all images", "flip_rate"),
        ("target hit rate", "all images", "target_hit_rate"),
        ("accuracy drop", "right before", "accuracy_drop"),
    ):
        found = [side[key] for side in sides.values()]
        if found[0] is not None:
            rows.append((name, of, found[0]["n"], *found))
    for worst in dict.fromkeys(side["worst_class"] for side in sides.values()):
        if worst is not None:
            results = [side["per_class"][worst] for side in sides.values()]
            accuracies = (result["robust_accuracy"] for result in results)
            rows.insert(2, ("worst class", results[0]["name"], results[0]["n"], *accuracies))
    title = f"Rates in per cent, with their 95 % interval{sheet.starts_text(document)}"
    return Sheet(title, ("", "of", "n", *sides), tuple(rows))


def _heading_lines(document: Document) -> list[Text]:
    return [Text(line) for line in heading(document | {"epsilons": [document["attack"]]})]


def _rounding_note(document: Document) -> Iterator[str]:
    rounded = document["rounded"]
    if rounded is not None:
        yield (
            f"Rounding changed {rounded['predictions_changed']:,} of {document['n']:,} predictions; "
            f"{rounded['pixels_outside']:,} of {rounded['pixels']:,} pixels have no 8-bit value within the budget."
        )


def _replay_lines(document: Document) -> Iterator[str]:
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
