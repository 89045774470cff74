"""One page about one or more runs, that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from robustbench_fgsm.report.documents.checks import findings, masking_sheet
from robustbench_fgsm.report.documents.evaluation import gate_text
from robustbench_fgsm.report.loaded_run import Run
from robustbench_fgsm.report.pages.command import command
from robustbench_fgsm.report.pages.images import MOST_BYTES, gallery
from robustbench_fgsm.report.pages.layout import FEW, asset, joined_script, packed, policy, templates
from robustbench_fgsm.report.pages.ranking import differences
from robustbench_fgsm.report.reported_attacks import Subject, evaluations, subjects
from robustbench_fgsm.report.tables.sheet import attacked
from robustbench_fgsm.report.tables.terminal import INTERVALS, LIMITS, epsilon_text

SCRIPTS = ("format", "document", "state", "matrix", "bars", "classes", "curves", "gallery", "leaders", "page")
"""In the order in which they need each other."""


def page(runs: Sequence[Run], *, most_bytes: int = MOST_BYTES) -> str:
    """The whole page; most_bytes: of its pictures. The same runs always give the same page."""
    found = subjects(runs)
    paired, unpaired = differences(runs)
    pictures, kept = gallery(_kept(runs, found), most_bytes=most_bytes)
    content = {
        "documents": [run.document for run in runs],
        "subjects": [_described(subject) for subject in found],
        "gallery": pictures,
        "pairs": paired,
    }
    script, style = joined_script(SCRIPTS), asset("page.css")
    return (
        templates()
        .get_template("page.html.jinja")
        .render(
            runs=runs,
            subjects=found,
            documents=[run.document for run in runs],
            commands=[command(run) for run in runs],
            warnings=list(_warnings(runs)),
            reasons=list(_each(runs, "invalid_reasons")),
            gates=list(_gates(runs)),
            limits=[LIMITS, INTERVALS, *_trust(runs)],
            unpaired=unpaired,
            signs=[(subject.name, sheet) for subject in found for sheet in masking_sheet(subject.evaluation)],
            shown=len(pictures),
            kept=kept,
            script=Markup(script),  # noqa: S704  (ours)
            style=Markup(style),  # noqa: S704
            policy=policy(script, style),
            data=packed(content),
        )
    )


def _described(subject: Subject) -> dict[str, Any]:
    """A subject as the script takes it; its evaluation by its place in the document, unless it is not there as such."""
    own = {"evaluation": subject.evaluation} if subject.kind == "comparison" else {}
    return {
        "run": subject.run,
        "name": subject.name,
        "kind": subject.kind,
        "prefix": subject.prefix,
        "epsilon_texts": [epsilon_text(at["epsilon"]) for at in subject.evaluation["epsilons"]],
        "attacked": attacked(subject.evaluation),
        **own,
    }


def _kept(runs: Sequence[Run], found: Sequence[Subject]) -> Iterator[tuple[int, Any]]:
    for place, subject in enumerate(found):
        yield from ((place, image) for image in runs[subject.run].gallery if image.targeted == subject.rule)


def _named(runs: Sequence[Run]) -> Iterator[tuple[str, Run]]:
    """Each run with what a sentence about it begins with: nothing where it is alone."""
    return ((f"{run.name}: " if len(runs) > 1 else "", run) for run in runs)


def _warnings(runs: Sequence[Run]) -> Iterator[str]:
    yield from _each(runs, "warnings")
    for name, run in _named(runs):
        first = evaluations(run.document)[0]
        if first["n"] < FEW:
            yield f"{name}only {first['n']:,} images: intervals are wide, above all those of single classes"


def _trust(runs: Sequence[Run]) -> Iterator[str]:
    """What was checked beside FGSM; a comparison never is."""
    for name, run in _named(runs):
        if run.document["schema"] != "rfgsm.comparison/1":
            yield from (f"{name}{sentence}" for sentence in findings(run.document))


def _each(runs: Sequence[Run], key: str) -> Iterator[str]:
    for name, run in _named(runs):
        yield from (f"{name}{sentence}" for sentence in run.document[key])


def _gates(runs: Sequence[Run]) -> Iterator[tuple[bool, str]]:
    for name, run in _named(runs):
        yield from ((gate["passed"], f"{name}{gate_text(gate)}") for gate in run.document.get("gates", []))
