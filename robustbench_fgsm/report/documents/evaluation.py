"""Summary of an evaluation document."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents import checks
from robustbench_fgsm.report.documents.distance_curve import distance_chart
from robustbench_fgsm.report.documents.sentences import (
    INTERVAL_NOTE,
    LIMITATION_NOTE,
    invalid_sentences,
    model_and_data_line,
    warning_sentences,
)
from robustbench_fgsm.report.evaluations_in import evaluations_in, is_multi_label_document
from robustbench_fgsm.report.tables.sheet import (
    MAX_LISTED_CLASSES,
    TRANSITION_AXES,
    Cell,
    Section,
    Sheet,
    Summary,
    least_robust_classes,
    matrix_sheet,
)
from robustbench_fgsm.report.tables.text import epsilon_text, epsilon_unit_text, rate_text, starts_text, success_denominator
from robustbench_fgsm.stats.audit import AuditCounts
from robustbench_fgsm.stats.paired import detectable_drop
from robustbench_fgsm.stats.rate import Rate

LABEL_COUNTS = ("found", "missed", "false", "absent")
"""True positives, false negatives, false positives and true negatives of a label."""

LABEL_NOTE = (
    "Accuracy, success and flips of images are of whole sets of labels: an image is right if all its labels are (exact match). "
    "Each label is one decision by itself; intervals over the labels of all images are clustered by image."
)
LABEL_TITLE = "Each label before and after the attack, in images: found, missed, falsely predicted, rightly absent"

STABLE_TITLE_SUFFIX = ", stable gradients where saturated"

RATE_ROWS = (
    ("robust accuracy", "robust_accuracy"),
    ("attack success", "attack_success_rate"),
    ("flip rate", "flip_rate"),
    ("target hit rate", "target_hit_rate"),
    ("accuracy drop", "accuracy_drop"),
)
"""Name and key of each rate after an attack."""


EXACT_MATCH_NAMES = {"clean accuracy": "exact match before", "robust accuracy": "exact match after", "worst class": "worst label"}
"""Names of rates if an image has any number of labels."""


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.evaluation/1` document, at one budget or at several."""
    section = sweep_section(document) if len(document["epsilons"]) > 1 else Section(tuple(evaluation_sheets(document)))
    sections = (section, *distance_chart_sections(document))
    return Summary(heading(document), sections, closing(document), answer_sentence(document))


def distance_chart_sections(evaluation: Document) -> Iterator[Section]:
    """Yield a section with accuracy over every epsilon as a chart, if distances were measured."""
    if chart := distance_chart(evaluation):
        yield Section(chart=chart)


def sweep_section(evaluation: Document, title: str = "") -> Section:
    """Return the tables and sentences of an evaluation at several budgets."""
    return Section(tuple(sweep_sheets(evaluation)), tuple(_sweep_sentences(evaluation)), title)


def evaluation_sheets(document: Document) -> Iterator[Sheet]:
    """Yield the tables of an evaluation at one budget."""
    at, classes = document["epsilons"][0], document["data"]["classes"]
    yield rates_sheet(document, at)
    if at["confusion"] is None:
        yield label_confusion_sheet(at["per_class"])
    else:
        yield matrix_sheet("clean_confusion", "Confusion before the attack", document["clean"]["confusion"], classes)
        yield matrix_sheet("confusion", "Confusion after it", at["confusion"], classes)
        yield matrix_sheet("transition", "Transition of predictions", at["transition"], classes, TRANSITION_AXES)
    yield class_rates_sheet(document, at)
    if "stable" in at and at["stable"]["per_class"] != at["per_class"]:
        yield class_rates_sheet(document, at["stable"], STABLE_TITLE_SUFFIX)
    yield from distance_sheets(document)
    yield gradient_health_sheet(document)
    yield from checks.masking_sheet(document)


def sweep_sheets(document: Document) -> Iterator[Sheet]:
    """Yield the tables of an evaluation at several budgets."""
    yield rates_by_epsilon_sheet(document)
    if "labels" in document["clean"]:
        yield label_rates_by_epsilon_sheet(document)
    if any(at.get("stable", at)["per_class"] != at["per_class"] for at in document["epsilons"]):
        yield rates_by_epsilon_sheet(document, stable=True)
    yield minimal_epsilon_sheet(document)
    yield from distance_sheets(document)
    yield gradient_health_sheet(document)
    yield from checks.masking_sheet(document)


def heading(document: Document) -> tuple[str, ...]:
    """Return what was attacked and how, a line each; the random start has a line of its own."""
    attack, epsilons = document["attack"], [at["epsilon"] for at in document["epsilons"]]
    gradient = ", stable gradient" if attack["stable"] else ""
    rule = f", targeted {attack['targeted']}" if len(epsilons) == 1 else ""
    budgets = ", ".join(map(epsilon_text, epsilons))
    starts = [f"R = {attack['restarts']} random starts, seed {attack['seed']}: {attack['start']}"] if attack["restarts"] else []
    return (
        model_and_data_line(document),
        f"FGSM, norm {attack['norm']}, epsilon {budgets}{epsilon_unit_text(attack)}{rule}, loss {attack['loss']}{gradient}",
        *starts,
    )


def target_rule_name(document: Document) -> str:
    """Return the targeting rule of an evaluation as a title: `Untargeted`, or `Targeted next`."""
    rule = document["attack"]["targeted"]
    return "Untargeted" if rule == "none" else f"Targeted {rule}"


def _sweep_sentences(evaluation: Document) -> Iterator[str]:
    clean = evaluation["clean"]["accuracy"]
    yield f"Clean accuracy {rate_text(clean)} %, n={clean['n']:,}."
    largest = epsilon_text(max(at["epsilon"] for at in evaluation["epsilons"]))
    area, stable = evaluation["area_under_curve"], evaluation["stable_area_under_curve"]
    if area is not None:
        beside = "" if stable is None else f" ({100 * stable:.1f} % with stable gradients)"
        yield f"Area under the curve: {100 * area:.1f} % mean robust accuracy from 0 to {largest}{beside}."
    found = evaluation.get("find_asr")
    if found:
        place = _reached_epsilon_text(found["epsilon"])
        beside = f" ({_reached_epsilon_text(found['stable_epsilon'])} with stable gradients)" if "stable_epsilon" in found else ""
        yield f"First epsilon with {100 * found['success_rate']:g} % attack success: {place}{beside}."


def _reached_epsilon_text(epsilon: float | None) -> str:
    return "none of these" if epsilon is None else epsilon_text(epsilon)


def answer_sentence(document: Document) -> str:
    """Return what an evaluation or a sweep found at its largest budget, after the verdict of its thresholds."""
    verdicts = [threshold["passed"] for threshold in document.get("gates", [])]
    verdict = "INVALID: " if document["invalid_reasons"] else ("PASSED: " if all(verdicts) else "FAILED: ") if verdicts else ""
    found = [evaluation for evaluation in evaluations_in(document) if evaluation["n"]]
    several = len(found) > 1
    return verdict + " ".join(f"{target_rule_name(one)}: {_answer(one)}" if several else _answer(one) for one in found)


def _answer(evaluation: Document) -> str:
    at = max(evaluation["epsilons"], key=lambda one: float(one["epsilon"]))
    sides = [(side["robust_accuracy"], side, words) for side, words in ((at.get("stable", at), ", stable gradients"), (at, ""))]
    robust, side, gradients = min((one for one in reversed(sides) if one[0]["value"] is not None), key=lambda one: one[0]["value"])
    worst = "" if side["worst_class"] is None else _worst_class_text(side["per_class"][side["worst_class"]])
    clean = f"clean {_percent(evaluation['clean']['accuracy'])}{gradients if side is not at else ''}"
    return f"robust accuracy {_percent(robust)} at epsilon {epsilon_text(at['epsilon'])} ({clean}){worst}."


def _percent(rate: Document) -> str:
    return "n/a" if rate["value"] is None else f"{100 * rate['value']:.1f} %"


def _worst_class_text(result: Document) -> str:
    return f", worst class {result['name']} {_percent(result['robust_accuracy'])}"


def closing(document: Document) -> tuple[str, ...]:
    """Return the sentences below the tables of an evaluation or a sweep."""
    return tuple(_closing(document))


def _closing(document: Document) -> Iterator[str]:
    yield INTERVAL_NOTE
    smallest = smallest_drop_text(evaluations_in(document)[0])
    if smallest and not is_multi_label_document(document):
        yield smallest
    yield LIMITATION_NOTE
    if is_multi_label_document(document):
        yield LABEL_NOTE
    yield from checks.check_sentences(document)
    if any("stable" in at for found in evaluations_in(document) for at in found.get("epsilons", [])):
        yield (
            "Stable: cross-entropy without its cancellation, on the saturated images. If it fools more, the ordinary gradient "
            "is too weak, and the network is less robust than it looks."
        )
    yield from dict.fromkeys(_audit_sentences(document))
    yield from warning_sentences(document)
    yield from map(threshold_text, document.get("gates", []))
    yield from invalid_sentences(document)


def smallest_drop_text(evaluation: Document) -> str:
    """Return which drops a paired gate on these images misses more often than it should, if none is gained; empty if all drops.

    A gate counts each different image once.
    """
    repeats = evaluation.get("repeats", 0)
    n, different = evaluation["n"] - repeats, "different " if repeats else ""
    least = detectable_drop(0, n, 0.0)
    if least is None:
        return ""
    return f"With {n:,} {different}images a gate finds drops of accuracy below {100 * least:.1f} points in fewer than 4 of 5 cases."


def _audit_sentences(document: Document) -> Iterator[str]:
    for evaluation in evaluations_in(document):
        audit = (evaluation.get("plan") or {}).get("audit")
        if audit:
            yield f"Planned predictions beside those of the plain network: {AuditCounts(audit['audited'], audit['differing'])}."


def threshold_text(threshold_result: Document) -> str:
    """Return the verdict of one threshold as a sentence."""
    rate, sign = {"min_robust_accuracy": ("robust accuracy", ">="), "max_asr": ("attack success rate", "<=")}[
        threshold_result["name"]
    ]
    value = "n/a" if threshold_result["value"] is None else f"{100 * threshold_result['value']:.2f} %"
    stable = " (stable)" if threshold_result["gradient"] == "stable" else ""
    verdict = "PASSED" if threshold_result["passed"] else "FAILED"
    return f"{verdict}: {rate}{stable} {value}, wanted {sign} {100 * threshold_result['threshold']:g} %"


def rates_sheet(evaluation: Document, epsilon_rates: Document) -> Sheet:
    """Return every rate at one budget, with its denominator; the rates of stable gradients stand beside, if there are any."""
    sides = {"rate": epsilon_rates}
    if "stable" in epsilon_rates:
        sides = {"ordinary": epsilon_rates, "stable": epsilon_rates["stable"]}
    return rates_by_side_sheet(evaluation, sides)


def rates_by_side_sheet(document: Document, sides: dict[str, Document]) -> Sheet:
    """Return every rate of one attack with its denominator, one column for each side.

    Args:
        document: with `attack` and `clean`.
        sides: the rates after the attack by the name of their column.
    """
    denominators = {"attack_success_rate": success_denominator(document["attack"]), "accuracy_drop": "right before"}
    clean = document["clean"]["accuracy"]
    names = EXACT_MATCH_NAMES if "labels" in document["clean"] else {}
    first = names.get("clean accuracy", "clean accuracy")
    rows: list[tuple[Cell, ...]] = [(first, "all images", clean["n"], *[clean] * len(sides))]
    for name, key in RATE_ROWS:
        found = [side[key] for side in sides.values()]
        if found[0] is not None:
            rows.append((names.get(name, name), denominators.get(key, "all images"), found[0]["n"], *found))
        if key == "robust_accuracy":
            rows += _worst_class_rows(list(sides.values()), names.get("worst class", "worst class"))
    if "labels" in document["clean"]:
        rows += label_rate_rows(document["clean"]["labels"], [side["labels"] for side in sides.values()])
    title = f"Rates in per cent, with their 95 % interval{starts_text(document['attack'])}"
    return Sheet("rates", title, ("", "of", "n", *sides), tuple(rows), intervals_below="stable" in sides)


def label_rate_rows(before: Document, after: Sequence[Document]) -> Iterator[tuple[Cell, ...]]:
    """Yield the rates over all labels of all images of a multi-label network, one column for each side after the attack."""
    clean, n = before["accuracy"], before["accuracy"]["n"]
    yield ("labels right before", "labels of all images", n, *[clean] * len(after))
    yield ("labels right after", "labels of all images", n, *(side["accuracy"] for side in after))
    yield ("Hamming loss before", "labels of all images", n, *[before["hamming_loss"]] * len(after))
    yield ("Hamming loss after", "labels of all images", n, *(side["hamming_loss"] for side in after))
    yield ("labels fooled", "labels right before", clean["count"], *(side["attack_success_rate"] for side in after))


def label_confusion_sheet(results: Sequence[Document]) -> Sheet:
    """Return the matrices of each label of a multi-label network before and after the attack; of many labels the least robust."""
    shown, some = least_robust_classes(results, "--json or --csv")
    rows: tuple[tuple[Cell, ...], ...] = tuple((f"{result['label']} {result['name']}", *label_counts(result)) for result in shown)
    columns = ("", *(f"{when}\n{kind}" for when in ("before", "after") for kind in LABEL_COUNTS))
    return Sheet("label_confusion", f"{LABEL_TITLE}{some}", columns, rows)


def label_counts(result: Document) -> tuple[int, ...]:
    """Return the images of one label, in the order of `LABEL_COUNTS`, before and then after the attack."""
    found: list[int] = []
    for (absent, false), (missed, hit) in (result["clean_confusion"], result["confusion"]):
        found += hit, missed, false, absent
    return tuple(found)


def _worst_class_rows(sides: Sequence[Document], title: str) -> Iterator[tuple[Cell, ...]]:
    for worst in dict.fromkeys(side["worst_class"] for side in sides):
        if worst is not None:
            results = [side["per_class"][worst] for side in sides]
            yield (title, results[0]["name"], results[0]["n"], *(result["robust_accuracy"] for result in results))
    chance = [side.get("worst_class_by_chance") for side in sides]
    if chance[0] is not None:
        classes = sum(result["n"] > 0 for result in sides[0]["per_class"])
        yield ("lowest by chance", f"{classes} classes", None, *chance)


def class_rates_sheet(evaluation: Document, rates: Document, title_suffix: str = "") -> Sheet:
    """Return the rates of each class at one budget; of many classes the least robust."""
    results, some = least_robust_classes(rates["per_class"], "--json or --csv")
    classes = evaluation["data"]["classes"]
    title = f"By class, in per cent, with 95 % intervals{title_suffix}{starts_text(evaluation['attack'])}{some}"
    columns = ("", "n", "clean", "robust", "success", "of", "mistaken for")
    return Sheet("per_class", title, columns, tuple(_class_row(result, classes) for result in results), intervals_below=True)


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


def gradient_health_sheet(evaluation: Document) -> Sheet:
    """Return the images whose gradient is zero, saturated or not finite, and the leaked labels if there is one budget."""
    gradient, n = evaluation["gradient"], evaluation["n"]
    rows = [
        ("gradient exactly zero", gradient["zero_share"]),
        ("saturated, 1 - p_y < 1e-6", gradient["saturated_share"]),
        ("gradient not finite", gradient["nonfinite_share"]),
    ]
    if len(evaluation["epsilons"]) == 1 and evaluation["attack"]["targeted"] == "none":
        rows.append(("leaked labels: wrong before, right after", Rate(evaluation["epsilons"][0]["leaked"], n).to_dict()))
    title = f"Health of the gradient, in per cent of {n:,} images"
    return Sheet("gradient", title, ("", "images", "share"), tuple((name, rate["count"], rate) for name, rate in rows))


def rates_by_epsilon_sheet(evaluation: Document, *, stable: bool = False) -> Sheet:
    """Return robust accuracy, worst class and attack success at each budget, for the ordinary or the stable gradient."""
    rows: list[tuple[Cell, ...]] = []
    for at in evaluation["epsilons"]:
        side = at["stable"] if stable else at
        success = side["attack_success_rate"]
        worst = None if side["worst_class"] is None else side["per_class"][side["worst_class"]]
        ends = (None,) * 3 if worst is None else (worst["name"], worst["robust_accuracy"], worst["n"])
        rows.append((at["epsilon"], side["robust_accuracy"], *ends, side.get("worst_class_by_chance"), success))
    which = STABLE_TITLE_SUFFIX if stable else ""
    of = evaluation["epsilons"][0]["attack_success_rate"]["n"]
    title = f"By epsilon, in per cent, n={evaluation['n']:,}, success of {of:,}{which}{starts_text(evaluation['attack'])}"
    columns: tuple[str, ...] = ("epsilon", "robust", "worst class", "robust", "n", "by chance", "success")
    if "labels" in evaluation["clean"]:
        columns = ("epsilon", "exact match", "worst label", "right", "n", "success")
        rows = [(*row[:5], *row[6:]) for row in rows]
    return Sheet("stable_rates" if stable else "rates", title, columns, tuple(rows), intervals_below=True)


def label_rates_by_epsilon_sheet(evaluation: Document) -> Sheet:
    """Return the rates over the labels of all images of a multi-label network before the attack and at each budget."""
    clean = evaluation["clean"]["labels"]
    rows: list[tuple[Cell, ...]] = [("before", clean["accuracy"], clean["hamming_loss"], None, None)]
    for at in evaluation["epsilons"]:
        fooled = at["labels"]["attack_success_rate"]
        rows.append((epsilon_text(at["epsilon"]), at["labels"]["accuracy"], at["labels"]["hamming_loss"], fooled, fooled["n"]))
    title = f"Labels by epsilon, in per cent of the {clean['accuracy']['n']:,} labels of all images, intervals clustered by image"
    return Sheet("labels", title, ("epsilon", "right", "Hamming loss", "fooled", "of"), tuple(rows), intervals_below=True)


def distance_sheets(evaluation: Document) -> Iterator[Sheet]:
    """Yield quantiles of the distance of all images, and the median of each class, with 95 % intervals, if it was measured."""
    found = evaluation.get("distance") or {}
    for side, suffix in ((found, ""), (found.get("stable"), STABLE_TITLE_SUFFIX)):
        if side:
            rows: list[tuple[Cell, ...]] = []
            rows += [(f"{100 * one['share']:g} % of the images", *_quantile_cells(one)) for one in side["quantiles"]]
            medians = sorted((one for one in side["per_class"] if one["n"]), key=lambda one: _sort_key(one["median"]["value"]))
            rows += [(f"median of {one['name']}", *_quantile_cells(one["median"])) for one in medians[:MAX_LISTED_CLASSES]]
            images = f"n={side['n']:,}, {side['wrong_before']:,} with distance 0, {side['censored']:,} beyond"
            title = f"Distance in 1/255: smallest epsilon that fools ({images} {side['max_epsilon']:g}){suffix}"
            yield Sheet("stable_distance" if suffix else "distance", title, ("", "below", "low", "high"), tuple(rows))


def _quantile_cells(quantile: Document) -> tuple[Cell, ...]:
    return tuple("beyond" if quantile[key] is None else f"{255 * quantile[key]:.2f}" for key in ("value", "low", "high"))


def _sort_key(value: float | None) -> float:
    return math.inf if value is None else value


def minimal_epsilon_sheet(evaluation: Document) -> Sheet:
    """Return how many images each budget is the first to fool, and how many are fooled up to it."""
    found = evaluation["minimal_epsilon"]
    n, by_then = found["n"], 0
    rows: list[tuple[Cell, ...]] = []
    for place in found["first_fooled"]:
        by_then += place["count"]
        rows.append((place["epsilon"], place["count"], Rate(place["count"], n).to_dict(), Rate(by_then, n).to_dict()))
    rows.append(("none of these", found["never"], Rate(found["never"], n).to_dict(), None))
    images = f"{n:,} images {success_denominator(evaluation['attack'])}"
    title = f"Smallest epsilon that fools, in per cent of {images}{starts_text(evaluation['attack'])}"
    return Sheet("minimal_epsilon", title, ("epsilon", "images", "share", "by then"), tuple(rows))
