"""What the tables of an evaluation, a sweep or a comparison hold, before anybody decides how they look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.stats.rate import Rate

Cell = str | int | float | Document | None
"""Text, a count, a budget (float), a rate as JSON knows it, or nothing."""

WIDEST_MATRIX = 12
"""A matrix of more classes is listed by its largest pairs."""

MOST_CLASSES = 20
"""Of more classes, so many of the worst are listed."""

LABEL_PREDICTION = ("label", "prediction")
BEFORE_AFTER = ("before", "after")


@dataclass(frozen=True)
class Sheet:
    """A table. tall: intervals may stand below their rates. diagonal: cell i + 1 of row i stands out."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    tall: bool = False
    diagonal: bool = False


def matrix(title: str, counts: Any, classes: Sequence[str], axes: tuple[str, str] = LABEL_PREDICTION) -> Sheet:
    """One matrix, dense or as {rows, columns, counts}, with its axes named; above twelve classes its ten largest pairs."""
    down, across = axes
    if isinstance(counts, dict) or len(classes) > WIDEST_MATRIX:
        largest = sorted(_off_diagonal(counts), reverse=True)[:10]
        rows = tuple((classes[row], classes[column], count) for count, row, column in largest)
        return Sheet(
            f"{title}: the pairs most often confused (all of them with --json)", (down, across, "images"), rows
        )
    rows = tuple((f"{label} {classes[label]}", *line) for label, line in enumerate(counts))
    columns = ("", *(str(label) for label in range(len(classes))))
    return Sheet(f"{title}: {down} down, {across} across", columns, rows, diagonal=True)


def _off_diagonal(counts: Any) -> Iterator[tuple[int, int, int]]:
    if isinstance(counts, dict):
        cells = list(zip(counts["counts"], counts["rows"], counts["columns"], strict=True))
    else:
        cells = [(count, row, column) for row, line in enumerate(counts) for column, count in enumerate(line)]
    return (cell for cell in cells if cell[0] and cell[1] != cell[2])


def overall(evaluation: Document, at: Document) -> Sheet:
    """Every rate at one budget, with what it is a share of; beside it the one of stable gradients where there is one."""
    sides = [at, at["stable"]] if "stable" in at else [at]
    clean = evaluation["clean"]["accuracy"]
    rows: list[tuple[Cell, ...]] = [("clean accuracy", "all images", clean["n"], *[clean] * len(sides))]

    def add(name: str, of: str, rates: Sequence[Document]) -> None:
        rows.append((name, of, rates[0]["n"], *rates))

    add("robust accuracy", "all images", [side["robust_accuracy"] for side in sides])
    for worst in dict.fromkeys(side["worst_class"] for side in sides):
        if worst is not None:
            name = at["per_class"][worst]["name"]
            add("worst class", name, [side["per_class"][worst]["robust_accuracy"] for side in sides])
    add("attack success", attacked(evaluation), [side["attack_success_rate"] for side in sides])
    add("flip rate", "all images", [side["flip_rate"] for side in sides])
    if at["target_hit_rate"] is not None:
        add("target hit rate", "all images", [side["target_hit_rate"] for side in sides])
    add("accuracy drop", "right before", [side["accuracy_drop"] for side in sides])
    names = ("ordinary", "stable") if "stable" in at else ("rate",)
    title = f"Rates in per cent, with their 95 % interval{starts(evaluation)}"
    return Sheet(title, ("", "of", "n", *names), tuple(rows), tall=len(sides) > 1)


def attacked(evaluation: Document) -> str:
    """Which images the success rate speaks of."""
    return "right before" if evaluation["attack"]["targeted"] == "none" else "off target"


def starts(evaluation: Document) -> str:
    """`, best of R + 1 starts (R = 3)` where there are random starts, to stand beside rates; else nothing."""
    restarts = evaluation["attack"]["restarts"]
    return f"; best of {restarts + 1} starts (R = {restarts})" if restarts else ""


def per_class(evaluation: Document, rates: Document, which: str = "") -> Sheet:
    """How each class fares: rates at one budget, ordinary or stable; of many classes the worst."""
    results, some = least_robust(rates["per_class"], "--json or --csv")
    classes = evaluation["data"]["classes"]
    title = f"By class, in per cent, with 95 % intervals{which}{starts(evaluation)}{some}"
    columns = ("", "n", "clean", "robust", "success", "of", "mistaken for")
    return Sheet(title, columns, tuple(_class_row(result, classes) for result in results), tall=True)


def least_robust(results: Sequence[Document], whole: str) -> tuple[Sequence[Document], str]:
    """All classes where they fit a table, else the worst of those that have images; and what its title says of that.

    whole: the options that give all of them.
    """
    if len(results) <= MOST_CLASSES:
        return results, ""
    present = [result for result in results if result["n"]]
    worst = sorted(present, key=lambda result: result["robust_accuracy"]["value"])[:MOST_CLASSES]
    return worst, f"; the {MOST_CLASSES} least robust (all with {whole})"


def _class_row(result: Document, classes: Sequence[str]) -> tuple[Cell, ...]:
    wrong, success = result["most_common_wrong"], result["attack_success_rate"]
    return (
        f"{result['label']} {result['name']}",
        result["n"],
        Rate(result["clean_correct"], result["n"]).to_dict(),
        result["robust_accuracy"],
        success,
        success["n"],
        None if wrong is None else classes[wrong],
    )


def gradient_health(evaluation: Document) -> Sheet:
    """Images whose gradient says little, and, at one budget, labels that leaked."""
    gradient, n = evaluation["gradient"], evaluation["n"]
    rows = [
        ("gradient exactly zero", gradient["zero_share"]),
        ("saturated, 1 - p_y < 1e-6", gradient["saturated_share"]),
        ("gradient not finite", gradient["nonfinite_share"]),
    ]
    if len(evaluation["epsilons"]) == 1 and evaluation["attack"]["targeted"] == "none":
        rows.append(
            ("leaked labels: wrong before, right after", Rate(evaluation["epsilons"][0]["leaked"], n).to_dict())
        )
    title = f"Health of the gradient, in per cent of {n:,} images"
    return Sheet(title, ("", "images", "share"), tuple((name, rate["count"], rate) for name, rate in rows))


def budgets(evaluation: Document, *, stable: bool = False) -> Sheet:
    """Robust accuracy, worst class and attack success at each budget, by the ordinary gradient or the stable one."""
    rows = []
    for at in evaluation["epsilons"]:
        side = at["stable"] if stable else at
        success = side["attack_success_rate"]
        worst = None if side["worst_class"] is None else side["per_class"][side["worst_class"]]
        ends = (None,) * 3 if worst is None else (worst["name"], worst["robust_accuracy"], worst["n"])
        rows.append((at["epsilon"], side["robust_accuracy"], *ends, success, success["n"]))
    which = ", stable gradients where saturated" if stable else ""
    title = f"By epsilon, in per cent, n={evaluation['n']:,}{which}{starts(evaluation)}"
    return Sheet(title, ("epsilon", "robust", "worst class", "robust", "n", "success", "of"), tuple(rows), tall=True)


def smallest_budgets(evaluation: Document) -> Sheet:
    """How many of the images that can be fooled are so first at each budget, and by then."""
    found = evaluation["minimal_epsilon"]
    n, by_then = found["n"], 0
    rows: list[tuple[Cell, ...]] = []
    for place in found["first_fooled"]:
        by_then += place["count"]
        rows.append((place["epsilon"], place["count"], Rate(place["count"], n).to_dict(), Rate(by_then, n).to_dict()))
    rows.append(("none of these", found["never"], Rate(found["never"], n).to_dict(), None))
    title = f"Smallest epsilon that fools, in per cent of {n:,} images {attacked(evaluation)}{starts(evaluation)}"
    return Sheet(title, ("epsilon", "images", "share", "by then"), tuple(rows))


def sides(comparison: Document) -> list[tuple[str, Document]]:
    """References by name, then the candidate, which may have a long one, as `candidate`; without one that failed."""
    found = [(side["name"], side) for side in comparison["references"]]
    candidate = comparison["candidate"]
    return found if candidate is None or not candidate["pixels"] else [*found, ("candidate", candidate)]


def agreement(comparison: Document) -> Sheet:
    """How each other side agrees with our images and predictions; counts, so one n serves them all."""
    others = sides(comparison)
    pixels = max((side["pixels"] for _, side in others), default=0)
    discordant = ("fooled\nby ours\nonly", "fooled\nby theirs\nonly")
    columns = ("", "", "\npixels\ndiffer", "\nmax\nulps", "\nclasses\nagree", *discordant)
    rows = tuple(_agreement_row(name, side) for name, side in others)
    title = f"Agreement with ours, on {pixels:,} pixels of {comparison['n']:,} images"
    return Sheet(title, columns, rows, tall=True)


def _agreement_row(name: str, side: Document) -> tuple[Cell, ...]:
    counts = (side["pixels_differing"], side["max_ulps"], side["predictions_agree"])
    return name, side["version"], *counts, side["discordant"]["ours_only"], side["discordant"]["theirs_only"]


def rates_and_time(comparison: Document) -> Sheet:
    """Rates and seconds of each side, ours first, with the job's ratio to ours; own success is what a library calls so."""
    rates = ("robust\naccuracy", "attack\nsuccess", "\nof", "own\nsuccess")
    named = [("ours", comparison["ours"])]
    named += [(f"{name}\n{side['version']}".rstrip(), side) for name, side in sides(comparison)]
    title = f"In per cent of {comparison['n']:,} images; attack success of those that can be fooled"
    rows = tuple(_rates_row(name, side) for name, side in named)
    return Sheet(title, ("", *rates, "attack\nseconds", "job\nseconds"), rows, tall=True)


def _rates_row(name: str, side: Document) -> tuple[Cell, ...]:
    own, success = side.get("own_success"), side["attack_success_rate"]
    attack, job = (f"{side['seconds'][key]:7.2f}" if side["seconds"]["job"] else "n/a" for key in ("attack", "job"))
    ratio = f"\n{side['speedup']:6.2f}x" if side.get("speedup") is not None else ""
    return name, side["robust_accuracy"], success, success["n"], own and own["rate"], attack, job + ratio
