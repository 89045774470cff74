"""Summary of a comparison document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.evaluation import LABEL_NOTE, label_confusion_sheet, label_rate_rows
from robustbench_fgsm.report.documents.sentences import (
    INTERVAL_NOTE,
    LIMITATION_NOTE,
    invalid_sentences,
    model_and_data_line,
    warning_sentences,
)
from robustbench_fgsm.report.evaluations_in import evaluations_in
from robustbench_fgsm.report.tables.sheet import Cell, Section, Sheet, Summary, least_robust_classes, matrix_sheet
from robustbench_fgsm.report.tables.text import epsilon_text, epsilon_unit_text, rate_text


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.comparison/1` document."""
    attack, clean = document["attack"], document["ours"]["clean_accuracy"]
    heading = (
        model_and_data_line(document),
        f"FGSM, norm {attack['norm']}, epsilon {epsilon_text(attack['epsilon'])}{epsilon_unit_text(attack)}, "
        f"targeted {attack['targeted']}",
        f"Clean accuracy {rate_text(clean)} %, n={clean['n']:,}.",
    )
    sections = (
        Section((agreement_sheet(document), rates_and_time_sheet(document)), tuple(_column_definitions(document))),
        Section((*_confusion_sheets(document), _class_sheet(document))),
    )
    return Summary(heading, sections, tuple(_closing(document)))


def _opponents(document: Document) -> list[Document]:
    """Return the references, and the candidate if there is one."""
    candidate = document["candidate"]
    return [*document["references"], *([] if candidate is None else [candidate])]


def _measured_opponents(document: Document) -> list[Document]:
    """Return the opponents without a candidate that failed."""
    return [side for side in _opponents(document) if side["pixels"] or side is not document["candidate"]]


def _short_name(side: Document, document: Document) -> str:
    """Return the name of a side in a table; a candidate may have a long one."""
    return "candidate" if side is document["candidate"] else str(side["name"])


def agreement_sheet(document: Document) -> Sheet:
    """Return how each opponent agrees with our images and predictions, in counts."""
    opponents = _measured_opponents(document)
    pixels = max((side["pixels"] for side in opponents), default=0)
    columns = ("", "", "\npixels\ndiffer", "\nmax\nulps", "\nclasses\nagree", "fooled\nby ours\nonly", "fooled\nby theirs\nonly")
    rows = tuple(
        (
            _short_name(side, document),
            side["version"],
            side["pixels_differing"],
            side["max_ulps"],
            side["predictions_agree"],
            side["discordant"]["ours_only"],
            side["discordant"]["theirs_only"],
        )
        for side in opponents
    )
    title = f"Agreement with ours, on {pixels:,} pixels of {document['n']:,} images"
    return Sheet("agreement", title, columns, rows, intervals_below=True)


def rates_and_time_sheet(document: Document) -> Sheet:
    """Return rates and seconds of each side, ours first, with the ratio of the job's seconds to ours."""
    named = [("ours", document["ours"])]
    named += [(f"{_short_name(side, document)}\n{side['version']}".rstrip(), side) for side in _measured_opponents(document)]
    columns = ("", "robust\naccuracy", "attack\nsuccess", "\nof", "own\nsuccess", "attack\nseconds", "job\nseconds")
    title = f"In per cent of {document['n']:,} images; attack success of those that can be fooled"
    return Sheet("rates", title, columns, tuple(_rates_row(name, side) for name, side in named), intervals_below=True)


def _rates_row(name: str, side: Document) -> tuple[Cell, ...]:
    own, success = side.get("own_success"), side["attack_success_rate"]
    attack, job = (f"{side['seconds'][key]:7.2f}" if side["seconds"]["job"] else "n/a" for key in ("attack", "job"))
    ratio = f"\n{side['speedup']:6.2f}x" if side.get("speedup") is not None else ""
    return name, side["robust_accuracy"], success, success["n"], own and own["rate"], attack, job + ratio


def _column_definitions(document: Document) -> Iterator[str]:
    """Yield what the columns "own success" and "job" mean."""
    owners: dict[str, list[str]] = {}
    for side in document["references"]:
        own = side["own_success"]
        text = "none defined" if own is None else f"{own['definition']} (n={own['rate']['n']:,})"
        owners.setdefault(text, []).append(side["name"])
    meanings = (f"{', '.join(names)}: {text}" for text, names in owners.items())
    yield f"Own success: {'; '.join(meanings)}."
    yield "Job: predictions before, attack, predictions after; below: times ours."


def _confusion_sheets(document: Document) -> Iterator[Sheet]:
    """Yield our matrices, and the matrix after the attack of each opponent that differs from ours."""
    ours, classes = document["ours"], document["data"]["classes"]
    opponents = _measured_opponents(document)
    if ours["confusion"] is None:
        yield from _label_sheets(ours, opponents)
        return
    equal = [side["name"] for side in opponents if side["confusion"] == ours["confusion"]]
    yield matrix_sheet("clean_confusion", "Confusion before the attack", ours["clean_confusion"], classes)
    yield matrix_sheet("confusion", f"Confusion after it ({', '.join(['ours', *equal])})", ours["confusion"], classes)
    for side in opponents:
        if side["confusion"] != ours["confusion"]:
            yield matrix_sheet("confusion", f"Confusion after it ({side['name']})", side["confusion"], classes)


def _label_sheets(ours: Document, opponents: Sequence[Document]) -> Iterator[Sheet]:
    """Yield the rates over the labels of all images, one column for each side, and the matrices of each label on our side."""
    sides = [ours, *opponents]
    rows = label_rate_rows(ours["clean_labels"], [side["labels"] for side in sides])
    short = tuple((str(name).removeprefix("labels ").replace("Hamming loss", "loss"), *cells) for name, _, *cells in rows)
    columns = ("", "n", "ours", *(side["name"] for side in opponents))
    title = "Labels right and fooled, and Hamming loss, in per cent, with 95 % intervals clustered by image"
    yield Sheet("labels", title, columns, short, intervals_below=True)
    yield label_confusion_sheet(ours["per_class"])


def _class_success_rates(side: Document) -> list[Document]:
    return [result["attack_success_rate"] for result in side["per_class"]]


def _class_sheet(document: Document) -> Sheet:
    """Return the success rate of each class, ours and that of each opponent that differs."""
    classes, ours = document["data"]["classes"], document["ours"]
    opponents = [side for side in _opponents(document) if side["pixels"]]
    others = [side for side in opponents if _class_success_rates(side) != _class_success_rates(ours)]
    owners = ", ".join(["ours", *(side["name"] for side in opponents if side not in others)])
    shown, left_out = least_robust_classes(ours["per_class"], "--json")
    rows = []
    for result in shown:
        label, wrong = result["label"], result["most_common_wrong"]
        rates = (_class_success_rates(side)[label] for side in (ours, *others))
        name = f"{label} {classes[label]}"
        rows.append((name, result["attack_success_rate"]["n"], *rates, "" if wrong is None else classes[wrong]))
    title = f"Attack success by class, in per cent of the n images that can be fooled{left_out}"
    columns = ("", "n", owners, *(side["name"] for side in others), "mistaken for")
    return Sheet("per_class", title, columns, tuple(rows), long_text="cut")


def _closing(document: Document) -> Iterator[str]:
    present = [result for result in document["ours"]["per_class"] if result["n"]]
    worst = min(present, key=lambda result: result["robust_accuracy"]["value"])
    kind = "label" if "labels" in document["ours"] else "class"
    yield f"Worst {kind}: {worst['name']}, robust accuracy {rate_text(worst['robust_accuracy'])} %, n={worst['n']}."
    chance = evaluations_in(document)[0]["epsilons"][0]["worst_class_by_chance"]
    if chance is not None:
        yield f"By chance alone the lowest of {len(present)} equal classes has {rate_text(chance)} %."
    yield INTERVAL_NOTE
    yield LIMITATION_NOTE
    yield from [LABEL_NOTE] if "labels" in document["ours"] else []
    yield from warning_sentences(document)
    for side in _opponents(document):
        yield ""
        yield _agreement_verdict(side, document)
        yield from (f"  {reason}" for reason in side["reasons"])
        for finding in side.get("diagnosis", []):
            yield f"  {finding['cause']}: {finding['evidence']}. {finding['remedy']}"
    yield from invalid_sentences(document)


def _agreement_verdict(side: Document, document: Document) -> str:
    """Return whether an opponent agrees with ours, as a sentence with its counts."""
    label = f"{side['name']} {side['version']}".rstrip()
    if not side["pixels"]:
        return f"DISAGREE: ours and {label}: no images to compare."
    differing, largest = side["pixels_differing"], side["max_abs_difference"]
    found = f"{differing:,} of {side['pixels']:,} pixels differ"
    if largest != 0:
        found += " (some are not finite)" if largest is None else f" (largest difference {largest:.2g})"
    if differing and document["attack"]["norm"] == "inf":
        found += f", {side['pixels_explained']:,} explained by rounding, {side['pixels_tied']:,} by ties"
    predictions = f"{side['predictions_agree']:,} of {document['n']:,} predictions agree"
    return f"{side['verdict'].upper()}: ours and {label}: {found}; {predictions}."
