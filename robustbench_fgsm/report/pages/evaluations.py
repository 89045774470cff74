"""Page of runs of evaluate, sweep and compare; it needs no network, no server and no other file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from robustbench_fgsm.report.attacks_in_runs import ReportedAttack, attacks_in_runs
from robustbench_fgsm.report.documents.checks import check_sentences, masking_sheet
from robustbench_fgsm.report.documents.evaluation import LABEL_NOTE, threshold_text
from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, LIMITATION_NOTE
from robustbench_fgsm.report.evaluations_in import evaluations_in, is_multi_label_document
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.distance_curve import draw_distance_curves
from robustbench_fgsm.report.pages.images import MAX_PAGE_IMAGE_BYTES, embed_images
from robustbench_fgsm.report.pages.layout import FEW_IMAGES, render_page
from robustbench_fgsm.report.pages.ranking import paired_differences
from robustbench_fgsm.report.tables.text import epsilon_text, success_denominator

EVALUATION_SCRIPTS = (
    "format",
    "page_data",
    "shown_state",
    "matrix",
    "bars",
    "classes",
    "curves",
    "gallery",
    "ranking",
    "evaluations",
)
"""Scripts in the order in which they need each other."""


def build_evaluations_page(runs: Sequence[LoadedRun], *, max_image_bytes: int = MAX_PAGE_IMAGE_BYTES) -> str:
    """Return the page of runs of evaluate, sweep and compare; equal runs always give an equal page."""
    found = attacks_in_runs(runs)
    paired, unpaired = paired_differences(runs)
    pictures, kept = embed_images(_example_images(runs, found), max_bytes=max_image_bytes)
    content = {
        "documents": [run.document for run in runs],
        "subjects": [_attack_to_dict(subject) for subject in found],
        "gallery": pictures,
        "pairs": paired,
    }
    return render_page(
        "evaluations.html.jinja",
        EVALUATION_SCRIPTS,
        content,
        runs,
        subjects=found,
        distance_curves=draw_distance_curves(found),
        reasons=list(_document_sentences(runs, "invalid_reasons")),
        gates=list(_threshold_results(runs)),
        warnings=list(_evaluations_page_warnings(runs)),
        limits=[LIMITATION_NOTE, INTERVAL_NOTE, *_label_notes(runs), *_runs_check_sentences(runs)],
        unpaired=unpaired,
        signs=[(subject.name, sheet) for subject in found for sheet in masking_sheet(subject.evaluation)],
        shown=len(pictures),
        kept=kept,
    )


def _attack_to_dict(subject: ReportedAttack) -> dict[str, Any]:
    """Return an attack for the script; its evaluation stands in the document, except for a comparison."""
    own = {"evaluation": subject.evaluation} if subject.kind == "comparison" else {}
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


def _named_runs(runs: Sequence[LoadedRun]) -> Iterator[tuple[str, LoadedRun]]:
    """Return each run with the beginning of a sentence about it, empty if there is one run."""
    return ((f"{run.name}: " if len(runs) > 1 else "", run) for run in runs)


def _evaluations_page_warnings(runs: Sequence[LoadedRun]) -> Iterator[str]:
    yield from _document_sentences(runs, "warnings")
    for name, run in _named_runs(runs):
        first = evaluations_in(run.document)[0]
        if first["n"] < FEW_IMAGES:
            yield f"{name}only {first['n']:,} images: intervals are wide, above all those of single classes"


def _label_notes(runs: Sequence[LoadedRun]) -> Iterator[str]:
    if any(is_multi_label_document(run.document) for run in runs):
        yield LABEL_NOTE


def _runs_check_sentences(runs: Sequence[LoadedRun]) -> Iterator[str]:
    """Yield the sentences about the checks beside FGSM; a comparison has no checks."""
    for name, run in _named_runs(runs):
        if run.document["schema"] != "rfgsm.comparison/1":
            yield from (f"{name}{sentence}" for sentence in check_sentences(run.document))


def _document_sentences(runs: Sequence[LoadedRun], key: str) -> Iterator[str]:
    for name, run in _named_runs(runs):
        yield from (f"{name}{sentence}" for sentence in run.document[key])


def _threshold_results(runs: Sequence[LoadedRun]) -> Iterator[tuple[bool, str]]:
    for name, run in _named_runs(runs):
        yield from ((gate["passed"], f"{name}{threshold_text(gate)}") for gate in run.document.get("gates", []))
