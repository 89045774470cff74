"""An evaluation or a sweep in the terminal, readable at 80 columns, from the documents that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents import checks
from robustbench_fgsm.report.tables import sheet
from robustbench_fgsm.report.tables.line_chart import MARKS, Curve, draw
from robustbench_fgsm.report.tables.sheet import Sheet
from robustbench_fgsm.report.tables.terminal import (
    INTERVALS,
    LIMITS,
    epsilon_text,
    prose,
    rate_text,
    several,
    sheet_table,
)

EXACT = ", stable gradients where saturated"


def evaluation(document: Document) -> RenderableType:
    """The whole of an `rfgsm.evaluation/1` document."""
    pages = (sheet_table(sheet) for sheet in evaluation_sheets(document))
    return Group(*map(Text, heading(document)), *pages, *prose(["", *closing(document)]))


def sweep(document: Document) -> RenderableType:
    """The whole of an `rfgsm.sweep/1` document."""
    first = document["evaluations"][0]
    parts: list[RenderableType] = [*map(Text, heading(first)), Text(f"\n{chart(document)}")]
    for found in document["evaluations"]:
        parts += [Text(f"\n{rule_name(found)}", style="bold underline")]
        parts += [sheet_table(sheet) for sheet in sweep_sheets(found)]
        parts += [Text(line) for line in ("", *summary(found))]
    return Group(*parts, *prose(["", *closing(document)]))


def evaluation_sheets(document: Document) -> Iterator[Sheet]:
    """The tables of an evaluation, in their order."""
    at, classes = document["epsilons"][0], document["data"]["classes"]
    yield sheet.overall(document, at)
    yield sheet.matrix("Confusion before the attack", document["clean"]["confusion"], classes)
    yield sheet.matrix("Confusion after it", at["confusion"], classes)
    yield sheet.matrix("Transition of predictions", at["transition"], classes, sheet.BEFORE_AFTER)
    yield sheet.per_class(document, at)
    if "stable" in at and at["stable"]["per_class"] != at["per_class"]:
        yield sheet.per_class(document, at["stable"], EXACT)
    yield sheet.gradient_health(document)
    yield from checks.masking_sheet(document)


def sweep_sheets(document: Document) -> Iterator[Sheet]:
    """The tables of one evaluation of a sweep, in their order."""
    yield sheet.budgets(document)
    if any(at.get("stable", at)["per_class"] != at["per_class"] for at in document["epsilons"]):
        yield sheet.budgets(document, stable=True)
    yield sheet.smallest_budgets(document)
    yield sheet.gradient_health(document)
    yield from checks.masking_sheet(document)


def heading(document: Document) -> list[str]:
    """What was attacked and how: one line each, and one more that names the variant where there are random starts."""
    attack, model = document["attack"], document["model"]
    budgets = ", ".join(epsilon_text(at["epsilon"]) for at in document["epsilons"])
    gradient = ", stable gradient" if attack["stable"] else ""
    rule = f", targeted {attack['targeted']}" if len(document["epsilons"]) == 1 else ""
    lines = [
        f"{model['spec']} ({model['weights']}) on {several(document['n'], 'image')} of {document['data']['spec']}",
        f"FGSM, norm {attack['norm']}, epsilon {budgets}{rule}, loss {attack['loss']}{gradient}",
    ]
    if attack["restarts"]:
        lines.append(f"R = {attack['restarts']} random starts, seed {attack['seed']}: {attack['start']}")
    return lines


def rule_name(document: Document) -> str:
    """`Untargeted`, or `Targeted next`."""
    rule = document["attack"]["targeted"]
    return "Untargeted" if rule == "none" else f"Targeted {rule}"


def summary(document: Document) -> list[str]:
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
        place = _place(found["epsilon"])
        beside = f" ({_place(found['stable_epsilon'])} with stable gradients)" if "stable_epsilon" in found else ""
        lines.append(f"First epsilon with {100 * found['success_rate']:g} % attack success: {place}{beside}.")
    return lines


def _place(epsilon: float | None) -> str:
    return "none of these" if epsilon is None else epsilon_text(epsilon)


def chart(document: Document) -> str:
    """Robust accuracy over epsilon, one curve for each targeting rule and kind of gradient, and what its letters mean."""
    named = list(curves(document))
    first = document["evaluations"][0]
    ticks = [(0.0, "0"), *((at["epsilon"], epsilon_text(at["epsilon"])) for at in first["epsilons"])]
    legend = "\n".join(f"  {mark} {name}" for mark, (name, _) in zip(MARKS * len(named), named, strict=False))
    return f"Robust accuracy in per cent over epsilon\n{legend}\n{draw([curve for _, curve in named], ticks)}"


def curves(document: Document) -> Iterator[tuple[str, Curve]]:
    """Name and points (epsilon, robust accuracy) of every curve of a sweep, from the clean accuracy at 0."""
    for found in document["evaluations"]:
        for key in ("", "stable"):
            sides = [(at["epsilon"], at[key] if key else at) for at in found["epsilons"] if not key or key in at]
            if sides:
                points = {0.0: found["clean"]["accuracy"]["value"]}
                points |= {epsilon: side["robust_accuracy"]["value"] for epsilon, side in sides}
                yield f"{rule_name(found).lower()}{', stable' if key else ''}", sorted(points.items())


def closing(document: Document) -> Iterator[str]:
    """What must be said beside the numbers, a sentence each: once, and for evaluations and sweeps alike."""
    yield INTERVALS
    yield LIMITS
    yield from checks.findings(document)
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
        yield gate_text(gate)
    for reason in document["invalid_reasons"]:
        yield f"INVALID: {reason}"


def gate_text(gate: Document) -> str:
    """The verdict on one gate in a sentence."""
    rate, sign = {"min_robust_accuracy": ("robust accuracy", ">="), "max_asr": ("attack success rate", "<=")}[
        gate["name"]
    ]
    value = "n/a" if gate["value"] is None else f"{100 * gate['value']:.2f} %"
    stable = " (stable)" if gate["gradient"] == "stable" else ""
    verdict = "PASSED" if gate["passed"] else "FAILED"
    return f"{verdict}: {rate}{stable} {value}, wanted {sign} {100 * gate['threshold']:g} %"
