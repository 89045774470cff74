"""Summary of a gate: the differences between a run and its baseline, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.sentences import LIMITATION_NOTE, invalid_sentences, warning_sentences
from robustbench_fgsm.report.tables.sheet import Cell, Section, Sheet, Summary
from robustbench_fgsm.report.tables.text import count_text, epsilon_text, model_text

MAX_CLASS_ROWS = 12
"""Most rows of the table of classes; of more, those with the smallest p."""

MAX_NAMED_DROPS = 5
"""Most drops that the verdict names."""


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.gate/1` document."""
    sections = (Section(tuple(_sheets(document))),)
    return Summary(_heading(document), sections, tuple(_closing(document)), _verdict(document))


def _heading(document: Document) -> tuple[str, ...]:
    attack = document["attacks"][0]
    stable = ", stable gradients where saturated" if document["gradient"] == "stable" else ""
    sides = ((name, document[key]) for name, key in (("Run", "run"), ("Baseline", "baseline")))
    images = f"{count_text(document['n'], 'image')} of {document['data']['spec']}"
    return (
        *(f"{name}: {model_text(side['model'])}, {side['path']}" for name, side in sides),
        f"Both on {images}; FGSM, norm {attack['norm']}{stable}",
    )


def _sheets(document: Document) -> Iterator[Sheet]:
    """Yield the drops over all images at each budget, and those of the classes."""
    whole = [drop for drop in document["drops"] if drop["label"] is None]
    classes = [drop for drop in document["drops"] if drop["label"] is not None]
    worst = sorted(classes, key=lambda drop: (drop["p"], -drop["drop"]))[:MAX_CLASS_ROWS]
    some = f"; the {MAX_CLASS_ROWS} with the smallest p (all with --json)" if len(classes) > MAX_CLASS_ROWS else ""
    columns = ("", "", "n", "right\nbefore", "\nnow", "\ndrop", "at\nleast", "at\nmost", "\nadj. p")
    if whole:
        yield Sheet("all_images", "All images; drops in per cent of n", columns, tuple(map(_drop_row, whole)))
    if worst:
        yield Sheet("per_class", f"Classes; drops in per cent of n{some}", columns, tuple(map(_drop_row, worst)))


def _closing(document: Document) -> Iterator[str]:
    level = 100 * (1 - document["alpha"])
    yield (
        f"At least, at most: one-sided {level:g} % bounds of the drop at Holm's levels over {len(document['drops'])} "
        "places. The images are taken as a sample of their kind."
    )
    yield _detectable_drop_text(document)
    if document["ties"]:
        yield f"{count_text(document['ties'], 'image')} changed with a prediction that depends on rounding: ties, not counted."
    yield LIMITATION_NOTE
    yield from warning_sentences(document)
    yield from invalid_sentences(document)


def _detectable_drop_text(document: Document) -> str:
    """Return the smallest drop that these images can show, over all images and in the hardest class."""
    whole = max((drop for drop in document["drops"] if drop["label"] is None), key=_detectable_size)
    worst = max((drop for drop in document["drops"] if drop["label"] is not None), key=_detectable_size)
    return (
        f"Found in {100 * document['power']:g} % of cases: a true drop of {_percent_text(whole['detectable'])} over all images, "
        f"and of {_percent_text(worst['detectable'])} in the hardest class, {worst['name']} (n={worst['n']:,})."
    )


def _verdict(document: Document) -> str:
    """Return whether the gate passed, with its reason, as a sentence, and whether the baseline is out of date."""
    rose = " The run is better: make it the baseline." if document["improved"] and document["verdict"] == "passed" else ""
    return _verdict_sentence(document) + rose


def _verdict_sentence(document: Document) -> str:
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


def failure_text(document: Document) -> str:
    """Return what moved, by how much and how sure this is, as the message of a failed test."""
    exceeding = sorted((drop for drop in document["drops"] if drop["exceeds"]), key=lambda drop: drop["label"] is not None)
    run, baseline = document["run"], document["baseline"]
    lines = [
        f"{model_text(run['model'])} is less robust than {model_text(baseline['model'])} of {baseline['path']}, "
        f"{count_text(document['n'], 'image')} of {document['data']['spec']}"
        if exceeding
        else _verdict(document)
    ]
    for drop in exceeding[:MAX_NAMED_DROPS]:
        before, now = (100 * drop[key]["value"] for key in ("baseline_accuracy", "accuracy"))
        lines.append(
            f"  {_drop_label(drop)}: {before:.1f} % -> {now:.1f} % right, fell by {100 * drop['drop']:.1f} points "
            f"(at least {100 * drop['low']:.1f}; adjusted p {drop['p']:.2g}); {drop['lost']:,} of {drop['n']:,} lost, "
            f"{drop['gained']:,} gained"
        )
    if len(exceeding) > MAX_NAMED_DROPS:
        lines.append(f"  and {len(exceeding) - MAX_NAMED_DROPS} more")
    return "\n".join([*lines, f"  allowed: {100 * document['max_drop']:g} % of the images"])


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
