"""Summary of a gate: the differences between a run and its baseline, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.printable_text import printable_document
from robustbench_fgsm.report.documents.sentences import LIMITATION_NOTE, invalid_sentences, warning_sentences
from robustbench_fgsm.report.tables.sheet import Cell, Section, Sheet, Summary
from robustbench_fgsm.report.tables.text import count_text, epsilon_text, epsilon_unit_text, model_text

MAX_CLASS_ROWS = 12
"""Most rows of the table of classes; of more, those with the smallest p."""

MAX_NAMED_DROPS = 5
"""Most drops that the verdict names."""

MODEL_CHANGES = {
    "none": "equal network",
    "weights": "other weights",
    "architecture": "other architecture",
    "unknown": "other network",
}
"""Name of each difference between the networks of a run and of its baseline."""


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.gate/1` document."""
    sections = (Section((*_sheets(document), *_decrease_sheets(document))),)
    return Summary(_heading(document), sections, tuple(_closing(document)), _verdict(document))


def _heading(document: Document) -> tuple[str, ...]:
    attack = document["attacks"][0]
    stable = ", stable gradients where saturated" if document["gradient"] == "stable" else ""
    unit = epsilon_unit_text(attack)
    scale = f", epsilon{unit}" if unit else ""
    sides = ((name, document[key]) for name, key in (("Run", "run"), ("Baseline", "baseline")))
    images = f"{count_text(document['n'], f'{different_word(document)}image')} of {document['data']['spec']}"
    return (
        *(f"{name}: {model_text(side['model'])}, {side['path']}" for name, side in sides),
        f"{MODEL_CHANGES[document['model_change']].capitalize()}; both on {images}; FGSM, norm {attack['norm']}{scale}{stable}",
    )


def different_word(document: Document) -> str:
    """Return `different `, if a gate does not count images that repeat others."""
    return "different " if document["repeats"] else ""


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


def _decrease_sheets(document: Document) -> Iterator[Sheet]:
    """Yield the decreases of the distance, over all images first, then the classes with the smallest p."""
    found = document["decreases"]
    classes = sorted((test for test in found if test["label"] is not None), key=lambda test: (test["p"], -test["decrease"]))
    some = f"; the {MAX_CLASS_ROWS} classes with the smallest p (all with --json)" if len(classes) > MAX_CLASS_ROWS else ""
    rows = [test for test in found if test["label"] is None] + classes[:MAX_CLASS_ROWS]
    columns = ("", "n", "that can\ndiffer", "\ncloser", "\nfarther", "\ndecrease", "at\nleast", "at\nmost", "\nadj. p")
    if rows:
        yield Sheet("distance", f"Distance; decreases in 1/255{some}", columns, tuple(map(_decrease_row, rows)))


def _decrease_row(test: Document) -> tuple[Cell, ...]:
    rule = "" if test["targeted"] == "none" else f" {test['targeted']}"
    counts = (test["n"], test["compared"], test["closer"], test["farther"])
    shifts = ("" if test[key] is None else f"{255 * test[key]:+.2f}" for key in ("decrease", "low", "high"))
    return (f"{'all' if test['label'] is None else test['name']}{rule}", *counts, *shifts, f"{test['p']:.2g}")


def criterion_sentences(document: Document) -> Iterator[str]:
    """Yield what the distance and the accuracy show over all images, and which images moved if the two disagree."""
    fell = False
    for test in document["decreases"]:
        if test["label"] is None:
            fell = fell or test["exceeds"]
            rule = "" if test["targeted"] == "none" else f" targeted {test['targeted']}"
            yield f"Distance{rule}: {_decrease_text(test, document['max_decrease'])}."
    dropped = False
    for drop in document["drops"]:
        if drop["label"] is None and drop["epsilon"] is not None:
            dropped = dropped or drop["exceeds"]
            needed = "" if drop["needed"] is None else f" ({drop['needed']:,} images would be needed)"
            fact = f"a drop of {100 * drop['drop']:.1f} points" if drop["exceeds"] else f"no drop shown{needed}"
            yield f"Accuracy of {drop_label(drop)}: {fact}."
    if document["decreases"] and fell != dropped:
        yield from (_moved_text(moved) for moved in document["moved"])


def _decrease_text(test: Document, allowed: float) -> str:
    """Return the decrease with its bounds: `smaller by 0.60/255 [0.30, 0.90] in the median`, or that none is shown."""
    low, high = ("..." if test[key] is None else f"{255 * test[key]:.2f}" for key in ("low", "high"))
    size = f"{255 * abs(test['decrease']):.2f}/255"
    if test["exceeds"]:
        return f"smaller by {size} [{low}, {high}] in the median"
    needed = "" if test["needed"] is None else f" ({test['needed']:,} images would be needed)"
    than = f" of more than {255 * allowed:g}/255" if allowed else ""
    change = f"{'smaller' if test['decrease'] > 0 else 'larger'} by {size}" if round(255 * test["decrease"], 2) else "unchanged"
    return f"no decrease{than} shown{needed}; {change} in the median, decrease in [{low}, {high}]"


def _moved_text(moved: Document) -> str:
    """Return which images moved: those fooled up to a budget in both runs, in neither run, and in one of them."""

    def shift_text(decrease: float | None) -> str:
        if decrease is None:
            return ""
        return f", {'closer' if decrease >= 0 else 'farther'} by {255 * abs(decrease):.2f}/255 in the median"

    budget, below = epsilon_text(moved["epsilon"]), count_text(moved["below"], "image")
    return (
        f"The two criteria disagree. At epsilon {budget}, {below} are fooled in both runs{shift_text(moved['below_decrease'])}; "
        f"{moved['above']:,} in neither{shift_text(moved['above_decrease'])}; {moved['lost']:,} only in the run; "
        f"{moved['gained']:,} only in the baseline."
    )


def _closing(document: Document) -> Iterator[str]:
    yield from criterion_sentences(document)
    level = 100 * (1 - document["alpha"] / (2 if document["on"] == "both" else 1))
    apart = f", of the distance over {len(document['decreases'])}" if document["decreases"] else ""
    yield (
        f"At least, at most, and in brackets: one-sided {level:g} % bounds at Holm's levels over {len(document['drops'])} "
        f"places{apart}. The images are taken as a sample of their kind."
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
    if document["invalid_reasons"]:
        return "FAILED: a run is invalid, and its numbers must not be used."
    drops, decreases = document["drops"], document["decreases"]
    allowed, shift = f"{100 * document['max_drop']:g} % of the images", f"{255 * document['max_decrease']:g}/255"
    judged = {
        "accuracy": (drops, _criterion_verdict(document, drops, "accuracy", "drop", allowed, drop_label)),
        "distance": (decreases, _criterion_verdict(document, decreases, "distance", "decrease", shift, decrease_label)),
    }
    chosen = [found for name, found in judged.items() if document["on"] in (name, "both")]
    texts = [text for _, text in sorted(chosen, key=lambda found: not any(test["exceeds"] for test in found[0]))]
    lacks = document["require_evidence"] and any(not test["within"] for tests, _ in chosen for test in tests)
    failed = lacks or any(test["exceeds"] for tests, _ in chosen for test in tests)
    return f"{'FAILED' if failed else 'PASSED'}: {'; '.join(texts)}."


def _criterion_verdict(
    document: Document, tests: list[Document], name: str, noun: str, allowed: str, label: Callable[[Document], str]
) -> str:
    exceeding = [test for test in tests if test["exceeds"]]
    unproven = sum(not test["within"] for test in tests)
    if exceeding:
        names = "; ".join(map(label, exceeding[:MAX_NAMED_DROPS]))
        more = f"; and {len(exceeding) - MAX_NAMED_DROPS} more" if len(exceeding) > MAX_NAMED_DROPS else ""
        return f"{name} fell by more than {allowed}: {names}{more}"
    if not unproven:
        return f"every {noun} is shown to be less than {allowed}"
    separator = ", but " if document["require_evidence"] else "; "
    return f"no {noun} of more than {allowed} is shown{separator}in {unproven} of {len(tests)} places none is ruled out"


def decrease_label(test: Document) -> str:
    """Return the images and the targeting rule of a decrease of the distance."""
    rule = "" if test["targeted"] == "none" else f" targeted {test['targeted']}"
    return f"{'all images' if test['label'] is None else test['name']}{rule}"


def failure_text(document: Document) -> str:
    """Return what moved, by how much and how sure this is, as the message of a failed test."""
    document = printable_document(document)
    if document["invalid_reasons"]:
        return "\n".join([_verdict(document), *(f"  {reason}" for reason in document["invalid_reasons"])])
    exceeding = sorted((drop for drop in document["drops"] if drop["exceeds"]), key=lambda drop: drop["label"] is not None)
    run, baseline = document["run"], document["baseline"]
    lines = [
        f"{model_text(run['model'])} is less robust than {model_text(baseline['model'])} of {baseline['path']} "
        f"({MODEL_CHANGES[document['model_change']]}), "
        f"{count_text(document['n'], f'{different_word(document)}image')} of {document['data']['spec']}"
        if exceeding
        else _verdict(document)
    ]
    for drop in exceeding[:MAX_NAMED_DROPS]:
        before, now = (100 * drop[key]["value"] for key in ("baseline_accuracy", "accuracy"))
        lines.append(
            f"  {drop_label(drop)}: {before:.1f} % -> {now:.1f} % right, fell by {100 * drop['drop']:.1f} points "
            f"(at least {100 * drop['low']:.1f}; adjusted p {drop['p']:.2g}); {drop['lost']:,} of {drop['n']:,} lost, "
            f"{drop['gained']:,} gained"
        )
    if len(exceeding) > MAX_NAMED_DROPS:
        lines.append(f"  and {len(exceeding) - MAX_NAMED_DROPS} more")
    lines += [f"  {text}" for text in criterion_sentences(document) if document["decreases"]]
    allowed = {"accuracy": f"{100 * document['max_drop']:g} % of the images", "distance": f"{255 * document['max_decrease']:g}/255"}
    judged = [text for name, text in allowed.items() if document["on"] in (name, "both")]
    return "\n".join([*lines, f"  allowed: {' and '.join(judged)}"])


def drop_label(drop: Document) -> str:
    """Return the images, the budget and the targeting rule of a drop of the accuracy."""
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
