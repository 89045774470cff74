"""The verdict of a gate as tables, in the terminal and as Markdown, from the document that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.markdown import escape_markdown, table
from robustbench_fgsm.report.tables.sheet import Cell, Sheet
from robustbench_fgsm.report.tables.terminal import LIMITATION_NOTE, count_text, epsilon_text, render_sheet, styled_lines

MAX_CLASS_ROWS = 12
"""Of more classes at all budgets, so many with the smallest p."""

MAX_NAMED_DROPS = 5
"""Of more drops that exceed what is allowed, so many are named."""


def render_gate(document: Document) -> RenderableType:
    """The whole of an `rfgsm.gate/1` document."""
    return Group(*map(Text, heading(document)), *map(render_sheet, gate_sheets(document)), Text(), *styled_lines(closing(document)))


def gate_to_markdown(document: Document) -> str:
    """The same for a pull request: the verdict first."""
    *rest, verdict = closing(document)
    lines = "  \n".join(map(escape_markdown, heading(document)))
    tables = map(table, gate_sheets(document))
    return "\n\n".join([f"**{escape_markdown(verdict)}**", lines, *tables, *map(escape_markdown, rest)])


def heading(document: Document) -> list[str]:
    """What is compared."""
    attack, gradient = document["attacks"][0], document["gradient"]
    stable = ", stable gradients where saturated" if gradient == "stable" else ""
    sides = (f"{name}: {_run_label(document[key])}" for name, key in (("Run", "run"), ("Baseline", "baseline")))
    return [
        *sides,
        f"Both on {count_text(document['n'], 'image')} of {document['data']['spec']}; FGSM, norm {attack['norm']}{stable}",
    ]


def gate_sheets(document: Document) -> list[Sheet]:
    """All images at each budget, and the classes, of many those with the smallest p."""
    whole = [drop for drop in document["drops"] if drop["label"] is None]
    classes = [drop for drop in document["drops"] if drop["label"] is not None]
    worst = sorted(classes, key=lambda drop: (drop["p"], -drop["drop"]))[:MAX_CLASS_ROWS]
    some = f"; the {MAX_CLASS_ROWS} with the smallest p (all with --json)" if len(classes) > MAX_CLASS_ROWS else ""
    columns = ("", "", "n", "right\nbefore", "\nnow", "\ndrop", "at\nleast", "at\nmost", "\nadj. p")
    return [
        Sheet(title, columns, tuple(map(_drop_row, drops)))
        for title, drops in (
            ("All images; drops in per cent of n", whole),
            (f"Classes; drops in per cent of n{some}", worst),
        )
        if drops
    ]


def closing(document: Document) -> Iterator[str]:
    """What the bounds mean, what these images can show, warnings, and the verdict, which comes last."""
    level = 100 * (1 - document["alpha"])
    yield (
        f"At least, at most: one-sided {level:g} % bounds of the drop at Holm's levels over {len(document['drops'])} "
        "places. The images are taken as a sample of their kind."
    )
    yield detectable_drop_text(document)
    yield LIMITATION_NOTE
    yield from (f"Warning: {warning}" for warning in document["warnings"])
    yield from (f"INVALID: {reason}" for reason in document["invalid_reasons"])
    yield gate_verdict(document)


def detectable_drop_text(document: Document) -> str:
    """The smallest drop that these images show, over all of them and in the smallest class."""
    whole = max((drop for drop in document["drops"] if drop["label"] is None), key=_detectable_size)
    worst = max((drop for drop in document["drops"] if drop["label"] is not None), key=_detectable_size)
    return (
        f"Found in {100 * document['power']:g} % of cases: a true drop of {_percent_text(whole['detectable'])} over all images, "
        f"and of {_percent_text(worst['detectable'])} in the hardest class, {worst['name']} (n={worst['n']:,})."
    )


def gate_verdict(document: Document) -> str:
    """Passed or failed, and why, in a sentence."""
    drops, allowed = document["drops"], f"{100 * document['max_drop']:g} % of the images"
    exceeding = [drop for drop in drops if drop["exceeds"]]
    unproven = sum(not drop["within"] for drop in drops)
    if document["invalid_reasons"]:
        return "FAILED: a run is invalid, and its numbers must not be used."
    if exceeding:
        names = "; ".join(map(_drop_label, exceeding[:MAX_NAMED_DROPS]))
        more = f"; and {len(exceeding) - MAX_NAMED_DROPS} more" if len(exceeding) > MAX_NAMED_DROPS else ""
        return f"FAILED: accuracy fell by more than {allowed}: {names}{more}."
    if document["require_evidence"] and unproven:
        return f"FAILED: no drop of more than {allowed} is shown, but in {unproven} of {len(drops)} places none is ruled out."
    if not unproven:
        return f"PASSED: every drop is shown to be less than {allowed}."
    return f"PASSED: no drop of more than {allowed} is shown; in {unproven} of {len(drops)} places none is ruled out."


def _run_label(side: Document) -> str:
    return f"{side['model']['spec']} ({side['model']['weights']}), {side['path']}"


def _drop_label(drop: Document) -> str:
    budget = "clean" if drop["epsilon"] is None else f"epsilon {epsilon_text(drop['epsilon'])}"
    rule = "" if drop["targeted"] == "none" or drop["epsilon"] is None else f" targeted {drop['targeted']}"
    return f"{'all images' if drop['label'] is None else drop['name']} at {budget}{rule}".replace("at clean", "clean")


def _drop_row(drop: Document) -> tuple[Cell, ...]:
    budget = "clean" if drop["epsilon"] is None else epsilon_text(drop["epsilon"])
    rule = "" if drop["targeted"] == "none" or drop["epsilon"] is None else f" {drop['targeted']}"
    counts = (drop["n"], drop["baseline_accuracy"]["count"], drop["accuracy"]["count"])
    points = (f"{100 * drop[key]:+6.1f}" for key in ("drop", "low", "high"))
    return (budget + rule, "all" if drop["label"] is None else drop["name"], *counts, *points, f"{drop['p']:.2g}")


def _detectable_size(drop: Document) -> float:
    return 2.0 if drop["detectable"] is None else float(drop["detectable"])


def _percent_text(share: float | None) -> str:
    return "no size" if share is None else f"{100 * share:.1f} %"
