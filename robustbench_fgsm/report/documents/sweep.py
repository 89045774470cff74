"""Summary of a sweep document."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.evaluation import (
    answer_sentence,
    closing,
    distance_chart_sections,
    heading,
    sweep_section,
    target_rule_name,
)
from robustbench_fgsm.report.tables.line_chart import CURVE_LETTERS, Curve, draw_line_chart
from robustbench_fgsm.report.tables.sheet import Section, Summary
from robustbench_fgsm.report.tables.text import epsilon_text


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.sweep/1` document: a chart, and a section for each targeting rule."""
    evaluations = document["evaluations"]
    sections = (
        section
        for evaluation in evaluations
        for section in (sweep_section(evaluation, target_rule_name(evaluation)), *distance_chart_sections(evaluation))
    )
    return Summary(
        heading(evaluations[0]), (Section(chart=accuracy_chart(document)), *sections), closing(document), answer_sentence(document)
    )


def accuracy_chart(document: Document) -> str:
    """Return robust accuracy over epsilon as a chart, one curve for each rule and kind of gradient, with its legend."""
    named = list(accuracy_curves(document))
    first = document["evaluations"][0]
    ticks = [(0.0, "0"), *((at["epsilon"], epsilon_text(at["epsilon"])) for at in first["epsilons"])]
    legend = "\n".join(f"  {mark} {name}" for mark, (name, _) in zip(CURVE_LETTERS * len(named), named, strict=False))
    return f"Robust accuracy in per cent over epsilon\n{legend}\n{draw_line_chart([curve for _, curve in named], ticks)}"


def accuracy_curves(document: Document) -> Iterator[tuple[str, Curve]]:
    """Yield name and points (epsilon, robust accuracy) of every curve of a sweep, from the clean accuracy at 0."""
    for found in document["evaluations"]:
        for key in ("", "stable"):
            sides = [(at["epsilon"], at[key] if key else at) for at in found["epsilons"] if not key or key in at]
            if sides:
                points = {0.0: found["clean"]["accuracy"]["value"]}
                points |= {epsilon: side["robust_accuracy"]["value"] for epsilon, side in sides}
                yield f"{target_rule_name(found).lower()}{', stable' if key else ''}", sorted(points.items())
