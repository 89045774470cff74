"""An evaluation or a sweep in the terminal, readable at 80 columns, from the documents that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents import checks
from robustbench_fgsm.report.tables import sheet
from robustbench_fgsm.report.tables.line_chart import CURVE_LETTERS, Curve, draw_line_chart
from robustbench_fgsm.report.tables.sheet import Cell, Sheet, least_robust_classes, starts_text, success_denominator
from robustbench_fgsm.report.tables.terminal import (
    INTERVAL_NOTE,
    LIMITATION_NOTE,
    count_text,
    epsilon_text,
    rate_text,
    render_sheet,
    styled_lines,
)
from robustbench_fgsm.stats.rate import Rate

STABLE_TITLE_SUFFIX = ", stable gradients where saturated"


def render_evaluation(document: Document) -> RenderableType:
    """The whole of an `rfgsm.evaluation/1` document."""
    pages = (render_sheet(sheet) for sheet in evaluation_sheets(document))
    return Group(*map(Text, heading(document)), *pages, *styled_lines(["", *closing(document)]))


def render_sweep(document: Document) -> RenderableType:
    """The whole of an `rfgsm.sweep/1` document."""
    first = document["evaluations"][0]
    parts: list[RenderableType] = [*map(Text, heading(first)), Text(f"\n{accuracy_chart(document)}")]
    for found in document["evaluations"]:
        parts += [Text(f"\n{target_rule_name(found)}", style="bold underline")]
        parts += [render_sheet(sheet) for sheet in sweep_sheets(found)]
        parts += [Text(line) for line in ("", *evaluation_summary(found))]
    return Group(*parts, *styled_lines(["", *closing(document)]))


def evaluation_sheets(document: Document) -> Iterator[Sheet]:
    """The tables of an evaluation, in their order."""
    at, classes = document["epsilons"][0], document["data"]["classes"]
    yield rates_sheet(document, at)
    yield sheet.matrix_sheet("Confusion before the attack", document["clean"]["confusion"], classes)
    yield sheet.matrix_sheet("Confusion after it", at["confusion"], classes)
    yield sheet.matrix_sheet("Transition of predictions", at["transition"], classes, sheet.TRANSITION_AXES)
    yield class_rates_sheet(document, at)
    if "stable" in at and at["stable"]["per_class"] != at["per_class"]:
        yield class_rates_sheet(document, at["stable"], STABLE_TITLE_SUFFIX)
    yield gradient_health_sheet(document)
    yield from checks.masking_sheet(document)


def sweep_sheets(document: Document) -> Iterator[Sheet]:
    """The tables of one evaluation of a sweep, in their order."""
    yield rates_by_epsilon_sheet(document)
    if any(at.get("stable", at)["per_class"] != at["per_class"] for at in document["epsilons"]):
        yield rates_by_epsilon_sheet(document, stable=True)
    yield minimal_epsilon_sheet(document)
    yield gradient_health_sheet(document)
    yield from checks.masking_sheet(document)


def heading(document: Document) -> list[str]:
    """What was attacked and how: one line each, and one more that names the variant where there are random starts."""
    attack, model = document["attack"], document["model"]
    budgets = ", ".join(epsilon_text(at["epsilon"]) for at in document["epsilons"])
    gradient = ", stable gradient" if attack["stable"] else ""
    rule = f", targeted {attack['targeted']}" if len(document["epsilons"]) == 1 else ""
    lines = [
        f"{model['spec']} ({model['weights']}) on {count_text(document['n'], 'image')} of {document['data']['spec']}",
        f"FGSM, norm {attack['norm']}, epsilon {budgets}{rule}, loss {attack['loss']}{gradient}",
    ]
    if attack["restarts"]:
        lines.append(f"R = {attack['restarts']} random starts, seed {attack['seed']}: {attack['start']}")
    return lines


def target_rule_name(document: Document) -> str:
    """`Untargeted`, or `Targeted next`."""
    rule = document["attack"]["targeted"]
    return "Untargeted" if rule == "none" else f"Targeted {rule}"


def evaluation_summary(document: Document) -> list[str]:
    """What one evaluation of a sweep comes to: clean accuracy, area under the curve, and where a success rate is reached."""
    clean = document["clean"]["accuracy"]
    lines = [f"Clean accuracy {rate_text(clean)} %, n={clean['n']:,}."]
    largest = epsilon_text(max(at["epsilon"] for at in document["epsilons"]))
    area, exact = document["area_under_curve"], document["stable_area_under_curve"]
    if area is not None:
        beside = "" if exact is None else f" ({100 * exact:.1f} % with stable gradients)"
        lines.append(f"Area under the curve: {100 * area:.1f} % mean robust accuracy from 0 to {largest}{beside}.")
    found = document.get("find_asr")
    if found:
        place = _reached_epsilon_text(found["epsilon"])
        beside = f" ({_reached_epsilon_text(found['stable_epsilon'])} with stable gradients)" if "stable_epsilon" in found else ""
        lines.append(f"First epsilon with {100 * found['success_rate']:g} % attack success: {place}{beside}.")
    return lines


def _reached_epsilon_text(epsilon: float | None) -> str:
    return "none of these" if epsilon is None else epsilon_text(epsilon)


def accuracy_chart(document: Document) -> str:
    """Robust accuracy over epsilon, one curve for each targeting rule and kind of gradient, and what its letters mean."""
    named = list(accuracy_curves(document))
    first = document["evaluations"][0]
    ticks = [(0.0, "0"), *((at["epsilon"], epsilon_text(at["epsilon"])) for at in first["epsilons"])]
    legend = "\n".join(f"  {mark} {name}" for mark, (name, _) in zip(CURVE_LETTERS * len(named), named, strict=False))
    return f"Robust accuracy in per cent over epsilon\n{legend}\n{draw_line_chart([curve for _, curve in named], ticks)}"


def accuracy_curves(document: Document) -> Iterator[tuple[str, Curve]]:
    """Name and points (epsilon, robust accuracy) of every curve of a sweep, from the clean accuracy at 0."""
    for found in document["evaluations"]:
        for key in ("", "stable"):
            sides = [(at["epsilon"], at[key] if key else at) for at in found["epsilons"] if not key or key in at]
            if sides:
                points = {0.0: found["clean"]["accuracy"]["value"]}
                points |= {epsilon: side["robust_accuracy"]["value"] for epsilon, side in sides}
                yield f"{target_rule_name(found).lower()}{', stable' if key else ''}", sorted(points.items())


def closing(document: Document) -> Iterator[str]:
    """What must be said beside the numbers, a sentence each: once, and for evaluations and sweeps alike."""
    yield INTERVAL_NOTE
    yield LIMITATION_NOTE
    yield from checks.check_sentences(document)
    for found in [*document.get("evaluations", []), document]:
        if any("stable" in at for at in found.get("epsilons", [])):
            yield (
                "Stable: cross-entropy without its cancellation, on the saturated images; where it fools more, "
                "the ordinary gradient is too weak, and the network is not as robust as it looks."
            )
            break
    for warning in document["warnings"]:
        yield f"Warning: {warning}"
    for gate in document.get("gates", []):
        yield threshold_text(gate)
    for reason in document["invalid_reasons"]:
        yield f"INVALID: {reason}"


def threshold_text(threshold_result: Document) -> str:
    """The verdict on one gate in a sentence."""
    rate, sign = {"min_robust_accuracy": ("robust accuracy", ">="), "max_asr": ("attack success rate", "<=")}[
        threshold_result["name"]
    ]
    value = "n/a" if threshold_result["value"] is None else f"{100 * threshold_result['value']:.2f} %"
    stable = " (stable)" if threshold_result["gradient"] == "stable" else ""
    verdict = "PASSED" if threshold_result["passed"] else "FAILED"
    return f"{verdict}: {rate}{stable} {value}, wanted {sign} {100 * threshold_result['threshold']:g} %"


def rates_sheet(evaluation: Document, epsilon_rates: Document) -> Sheet:
    """Every rate at one budget, with what it is a share of; beside it the one of stable gradients where there is one."""
    sides = [epsilon_rates, epsilon_rates["stable"]] if "stable" in epsilon_rates else [epsilon_rates]
    clean = evaluation["clean"]["accuracy"]
    rows: list[tuple[Cell, ...]] = [("clean accuracy", "all images", clean["n"], *[clean] * len(sides))]

    def add(name: str, of: str, rates: Sequence[Document]) -> None:
        rows.append((name, of, rates[0]["n"], *rates))

    add("robust accuracy", "all images", [side["robust_accuracy"] for side in sides])
    for worst in dict.fromkeys(side["worst_class"] for side in sides):
        if worst is not None:
            name = epsilon_rates["per_class"][worst]["name"]
            add("worst class", name, [side["per_class"][worst]["robust_accuracy"] for side in sides])
    add("attack success", success_denominator(evaluation), [side["attack_success_rate"] for side in sides])
    add("flip rate", "all images", [side["flip_rate"] for side in sides])
    if epsilon_rates["target_hit_rate"] is not None:
        add("target hit rate", "all images", [side["target_hit_rate"] for side in sides])
    add("accuracy drop", "right before", [side["accuracy_drop"] for side in sides])
    names = ("ordinary", "stable") if "stable" in epsilon_rates else ("rate",)
    title = f"Rates in per cent, with their 95 % interval{starts_text(evaluation)}"
    return Sheet(title, ("", "of", "n", *names), tuple(rows), intervals_below=len(sides) > 1)


def class_rates_sheet(evaluation: Document, rates: Document, title_suffix: str = "") -> Sheet:
    """How each class fares: rates at one budget, ordinary or stable; of many classes the worst."""
    results, some = least_robust_classes(rates["per_class"], "--json or --csv")
    classes = evaluation["data"]["classes"]
    title = f"By class, in per cent, with 95 % intervals{title_suffix}{starts_text(evaluation)}{some}"
    columns = ("", "n", "clean", "robust", "success", "of", "mistaken for")
    return Sheet(title, columns, tuple(_class_row(result, classes) for result in results), intervals_below=True)


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
    """Images whose gradient says little, and, at one budget, labels that leaked."""
    gradient, n = evaluation["gradient"], evaluation["n"]
    rows = [
        ("gradient exactly zero", gradient["zero_share"]),
        ("saturated, 1 - p_y < 1e-6", gradient["saturated_share"]),
        ("gradient not finite", gradient["nonfinite_share"]),
    ]
    if len(evaluation["epsilons"]) == 1 and evaluation["attack"]["targeted"] == "none":
        rows.append(("leaked labels: wrong before, right after", Rate(evaluation["epsilons"][0]["leaked"], n).to_dict()))
    title = f"Health of the gradient, in per cent of {n:,} images"
    return Sheet(title, ("", "images", "share"), tuple((name, rate["count"], rate) for name, rate in rows))


def rates_by_epsilon_sheet(evaluation: Document, *, stable: bool = False) -> Sheet:
    """Robust accuracy, worst class and attack success at each budget, by the ordinary gradient or the stable one."""
    rows = []
    for at in evaluation["epsilons"]:
        side = at["stable"] if stable else at
        success = side["attack_success_rate"]
        worst = None if side["worst_class"] is None else side["per_class"][side["worst_class"]]
        ends = (None,) * 3 if worst is None else (worst["name"], worst["robust_accuracy"], worst["n"])
        rows.append((at["epsilon"], side["robust_accuracy"], *ends, success, success["n"]))
    which = ", stable gradients where saturated" if stable else ""
    title = f"By epsilon, in per cent, n={evaluation['n']:,}{which}{starts_text(evaluation)}"
    return Sheet(title, ("epsilon", "robust", "worst class", "robust", "n", "success", "of"), tuple(rows), intervals_below=True)


def minimal_epsilon_sheet(evaluation: Document) -> Sheet:
    """How many of the images that can be fooled are so first at each budget, and by then."""
    found = evaluation["minimal_epsilon"]
    n, by_then = found["n"], 0
    rows: list[tuple[Cell, ...]] = []
    for place in found["first_fooled"]:
        by_then += place["count"]
        rows.append((place["epsilon"], place["count"], Rate(place["count"], n).to_dict(), Rate(by_then, n).to_dict()))
    rows.append(("none of these", found["never"], Rate(found["never"], n).to_dict(), None))
    title = f"Smallest epsilon that fools, in per cent of {n:,} images {success_denominator(evaluation)}{starts_text(evaluation)}"
    return Sheet(title, ("epsilon", "images", "share", "by then"), tuple(rows))
