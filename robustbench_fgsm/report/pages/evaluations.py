"""Page of runs of evaluate, sweep and compare; it needs no network, no server and no other file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from markupsafe import Markup

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.attacks_in_runs import OWN_PLACES, ReportedAttack, attacks_in_runs
from robustbench_fgsm.report.documents.attack import rounding_sentences
from robustbench_fgsm.report.documents.checks import check_sentences, masking_sheet
from robustbench_fgsm.report.documents.evaluation import LABEL_NOTE, label_confusion_sheet, threshold_text
from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, LIMITATION_NOTE
from robustbench_fgsm.report.evaluations_in import evaluations_in, is_multi_label_document
from robustbench_fgsm.report.figures.curves import has_own_stable_curve
from robustbench_fgsm.report.figures.selection import select_epsilon
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.distance_curve import draw_distance_curves
from robustbench_fgsm.report.pages.images import MAX_PAGE_IMAGE_BYTES, embed_images
from robustbench_fgsm.report.pages.layout import FEW_IMAGES, render_page
from robustbench_fgsm.report.pages.matrix import draw_confusion_matrix
from robustbench_fgsm.report.pages.ranking import SIDES, Ranking, paired_differences, rank_runs
from robustbench_fgsm.report.pages.rates_table import rates_table
from robustbench_fgsm.report.pages.svg_chart import draw_chart, rate_line
from robustbench_fgsm.report.pages.tiles import Tile, evaluation_tiles
from robustbench_fgsm.report.tables.html import sheet_to_html
from robustbench_fgsm.report.tables.text import epsilon_text, success_denominator

MAX_CLASS_ROWS = 40
"""Most classes of a table that is shown without a script."""

EVALUATION_SCRIPTS = ("format", "page_data", "charts", "shown_state", "matrix", "classes", "gallery", "evaluations", "start")
"""Scripts in the order in which they need each other."""

UNCHECKED_SCHEMAS = ("rfgsm.comparison/1", "rfgsm.attack/1")
"""Schemas of commands without checks beside FGSM."""

CURVE_MEASURES = {"robust_accuracy": "robust accuracy, %", "attack_success_rate": "attack success, %"}


def build_evaluations_page(runs: Sequence[LoadedRun], *, max_image_bytes: int = MAX_PAGE_IMAGE_BYTES) -> str:
    """Return the page of runs of evaluate, sweep and compare; equal runs always give an equal page."""
    found = attacks_in_runs(runs)
    paired, unpaired = paired_differences(runs)
    pictures, kept = embed_images(_example_images(runs, found), max_bytes=max_image_bytes)
    content = {
        "documents": [run.document for run in runs],
        "subjects": [_attack_to_dict(subject) for subject in found],
        "gallery": pictures,
    }
    first = found[0]
    chosen = select_epsilon([at["epsilon"] for at in first.evaluation["epsilons"]], None)
    at = first.evaluation["epsilons"][chosen]
    key = f"0/{chosen}/ordinary"
    budgets = max(len(subject.evaluation["epsilons"]) for subject in found)
    return render_page(
        "evaluations.html.jinja",
        EVALUATION_SCRIPTS,
        content,
        runs,
        subjects=found,
        reasons=list(_document_sentences(runs, "invalid_reasons")),
        gates=list(_threshold_results(runs)),
        warnings=list(_evaluations_page_warnings(runs)),
        limits=[LIMITATION_NOTE, INTERVAL_NOTE, *_label_notes(runs), *_runs_check_sentences(runs)],
        tiles=(),
        tile_groups=_chosen_first(_tile_groups(runs, found), key) if len(runs) == 1 else [],
        rankings=_chosen_first(rank_runs(found, paired), key) if len(runs) > 1 else [],
        unpaired=unpaired,
        has_controls=budgets > 1 or len(found) > 1 or any("stable" in one for one in first.evaluation["epsilons"]),
        now=f"{first.name + ', ' if len(found) > 1 else ''}epsilon {epsilon_text(at['epsilon'])}",
        rates=rates_table(found),
        curves=_accuracy_curves(found, at["epsilon"]) if budgets > 1 else {},
        distance_curves=draw_distance_curves(found),
        matrix=_confusion(first.evaluation, at),
        worst_first=_least_robust(at["per_class"]),
        mean=at.get("labels", {}).get("accuracy", at["robust_accuracy"])["value"],
        smallest=[
            subject for subject in found if subject.evaluation["minimal_epsilon"] and len(subject.evaluation["epsilons"]) > 1
        ],
        signs=[(subject.name, sheet) for subject in found for sheet in masking_sheet(subject.evaluation)],
        shown=len(pictures),
        kept=kept,
    )


@dataclass(frozen=True)
class TileGroup:
    """Tiles of one attack at one budget. keys: the attack, budget and gradient for which a page shows them."""

    name: str
    keys: str
    tiles: tuple[Tile, ...]


Group = TypeVar("Group", TileGroup, Ranking)


def _chosen_first(groups: list[Group], key: str) -> list[Group]:
    """Return the groups with that of a key first, which is shown before a script runs."""
    return sorted(groups, key=lambda group: key not in group.keys.split())


def _tile_groups(runs: Sequence[LoadedRun], subjects: Sequence[ReportedAttack]) -> list[TileGroup]:
    found = []
    for place, subject in enumerate(subjects):
        for index, at in enumerate(subject.evaluation["epsilons"]):
            for side in SIDES if "stable" in at else SIDES[:1]:
                rates = at["stable"] if side == "stable" else at
                tiles = evaluation_tiles(subject.evaluation, rates, at["epsilon"], runs[subject.run_index].document)
                name = f"{subject.name}, epsilon {epsilon_text(at['epsilon'])}{', stable gradients' if side == 'stable' else ''}"
                found.append(TileGroup(name, f"{place}/{index}/{side}", tuple(tiles)))
    return found


def _accuracy_curves(subjects: Sequence[ReportedAttack], now: float) -> dict[str, Markup]:
    """Return the chart of each measure over epsilon: a line for each attack, dashed for stable gradients that differ."""
    drawn = {}
    for measure, y_title in CURVE_MEASURES.items():
        lines = []
        for place, subject in enumerate(subjects):
            evaluation = subject.evaluation
            clean = [(0.0, "epsilon 0", evaluation["clean"]["accuracy"])] if measure == "robust_accuracy" else []
            for side in SIDES if has_own_stable_curve(evaluation) else SIDES[:1]:
                at = [one for one in evaluation["epsilons"] if side in ("ordinary", *one)]
                rates = [(one["epsilon"], f"epsilon {epsilon_text(one['epsilon'])}", one.get(side, one)[measure]) for one in at]
                start = clean if all(epsilon for epsilon, *_ in rates) else []
                name = f"{subject.name}{', stable where saturated' if side == 'stable' else ''}"
                lines.append(rate_line(name, [*start, *rates], place, dashed=side == "stable"))
        ticks = {at["epsilon"]: epsilon_text(at["epsilon"]) for subject in subjects for at in subject.evaluation["epsilons"]}
        label = f"{y_title.partition(',')[0].capitalize()} in per cent over epsilon, with 95 % bands; the table has the numbers"
        drawn[measure] = draw_chart(
            lines, [(0.0, "0"), *ticks.items()], name=f"curves-{measure}", label=label, x_title="epsilon", y_title=y_title, now=now
        )
    return drawn


def _confusion(evaluation: Document, at: Document) -> Markup:
    """Return the confusion after the attack, or the counts of each label if images have several labels."""
    if at["confusion"] is None:
        return Markup(f'<div class="scroll">{sheet_to_html(label_confusion_sheet(at["per_class"]))}</div>')  # noqa: S704  (escaped)
    return draw_confusion_matrix(evaluation, at["confusion"])


def _least_robust(results: Sequence[Document]) -> list[Document]:
    present = [result for result in results if result["robust_accuracy"]["value"] is not None]
    return sorted(present, key=lambda result: (result["robust_accuracy"]["value"], result["label"]))[:MAX_CLASS_ROWS]


def _attack_to_dict(subject: ReportedAttack) -> dict[str, Any]:
    """Return an attack for the script; its evaluation stands in the document, or else beside its own places there."""
    places = OWN_PLACES.get(subject.kind)
    own = {"evaluation": subject.evaluation, "places": places} if places else {}
    return {
        "run": subject.run_index,
        "name": subject.name,
        "kind": subject.kind,
        "prefix": subject.pointer_prefix,
        "epsilon_texts": [epsilon_text(at["epsilon"]) for at in subject.evaluation["epsilons"]],
        "attacked": success_denominator(subject.evaluation["attack"]),
        **own,
    }


def _example_images(runs: Sequence[LoadedRun], found: Sequence[ReportedAttack]) -> Iterator[tuple[int, Any]]:
    for place, subject in enumerate(found):
        yield from ((place, image) for image in runs[subject.run_index].example_images if image.targeted == subject.target_rule)


def _evaluations_page_warnings(runs: Sequence[LoadedRun]) -> Iterator[str]:
    yield from _document_sentences(runs, "warnings")
    yield from _shared_once(runs, [list(_few_images(evaluations_in(run.document)[0]["n"])) for run in runs])


def _few_images(n: int) -> Iterator[str]:
    if n < FEW_IMAGES:
        yield f"only {n:,} images: intervals are wide, above all those of single classes"


def _label_notes(runs: Sequence[LoadedRun]) -> Iterator[str]:
    if any(is_multi_label_document(run.document) for run in runs):
        yield LABEL_NOTE


def _runs_check_sentences(runs: Sequence[LoadedRun]) -> Iterator[str]:
    """Yield the sentences about the checks beside FGSM, which compare and attack do not have, and about rounded images."""
    checked = [[] if run.document["schema"] in UNCHECKED_SCHEMAS else list(check_sentences(run.document)) for run in runs]
    yield from _shared_once(runs, checked)
    yield from _shared_once(runs, [list(rounding_sentences(run.document)) for run in runs])


def _document_sentences(runs: Sequence[LoadedRun], key: str) -> Iterator[str]:
    yield from _shared_once(runs, [run.document[key] for run in runs])


def _shared_once(runs: Sequence[LoadedRun], sentences: Sequence[Iterable[str]]) -> Iterator[str]:
    """Yield each sentence once, after the names of its runs, if it is not about all of them."""
    owners: dict[str, list[str]] = {}
    for run, own in zip(runs, sentences, strict=True):
        for sentence in dict.fromkeys(own):
            owners.setdefault(sentence, []).append(run.name)
    for sentence, names in owners.items():
        yield sentence if len(names) == len(runs) else f"{', '.join(names)}: {sentence}"


def _threshold_results(runs: Sequence[LoadedRun]) -> Iterator[tuple[bool, str]]:
    for run in runs:
        name = f"{run.name}: " if len(runs) > 1 else ""
        yield from ((gate["passed"], f"{name}{threshold_text(gate)}") for gate in run.document.get("gates", []))
