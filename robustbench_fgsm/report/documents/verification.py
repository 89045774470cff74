"""Summary of the verification of a candidate: a datasheet with one row for each stage."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.sheet import Section, Sheet, Summary
from robustbench_fgsm.report.tables.text import count_text

MISTAKE_PAGES = "docs/reference/mistakes"
VERDICT_TEXTS = {"ok": "ok", "wrong": "WRONG", "unmeasured": "unmeasured"}


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.verification/2` document."""
    sections = (Section((stage_sheet(document),), tuple(_remedies(document))),)
    return Summary(tuple(heading_lines(document)), sections, tuple(_notes(document)), verdict_sentence(document))


def heading_lines(document: Document) -> Iterator[str]:
    """Yield the name and the style of the candidate, and how its call differs from that of the style."""
    candidate = document["candidate"]
    yield f"{candidate['name']}, style {candidate['style']}{', strict' if document['strict'] else ''}"
    method = document.get("method", {"name": "fgsm"})
    if method["name"] != "fgsm":
        yield f"measured as {method['text']} ({method['source']})"
    if candidate["note"]:
        yield candidate["note"]


def stage_sheet(document: Document) -> Sheet:
    """Return one row for each stage: what was measured, the verdict, and the id of the known mistake."""
    rows = tuple((one["stage"], one["text"], VERDICT_TEXTS[one["verdict"]], one["cause"] or "") for one in document["stages"])
    return Sheet("stages", "", ("stage", "measured", "verdict", "known mistake"), rows, long_text="wrap")


def verdict_sentence(document: Document) -> str:
    """Return the verdict, and what it rests on."""
    stages = document["stages"]
    named = {verdict: [one["stage"] for one in stages if one["verdict"] == verdict] for verdict in VERDICT_TEXTS}
    if document["verdict"] == "right":
        space = " for images in [0, 1]" if document["candidate"]["style"] == "plain" else ""
        return f"RIGHT{space}: all {len(stages)} stages are measured and right."
    if named["wrong"]:
        return f"WRONG: {', '.join(named['wrong'])}; {len(named['ok'])} of {len(stages)} stages are right."
    if document["verdict"] == "wrong":
        return "WRONG: all measured stages are right, but harmless deviations count with --strict."
    missing = ", ".join(named["unmeasured"]) or count_text(len(document["limitations"]), "limitation")
    return f"INCOMPLETE: nothing is wrong, but not everything is measured ({missing})."


def mistake_page(cause: str) -> str:
    """Return the place of the page of a known mistake."""
    return f"{MISTAKE_PAGES}/{cause}.md"


def _remedies(document: Document) -> Iterator[str]:
    """Yield what a right attack gives and the remedy, for each wrong stage; then what the candidate could not run."""
    for one in document["stages"]:
        if one["verdict"] == "wrong":
            yield f"{one['stage']}: expected {one['expected']}." if one["expected"] else f"{one['stage']}:"
            yield f"  Remedy: {one['remedy']}."
            if one["cause"]:
                yield f"  See {mistake_page(one['cause'])}."
    for one in document["conduct"][1:]:
        yield f"conduct: {one['evidence']}."
        if one["cause"]:
            yield f"  Remedy: {one['remedy']}."
            yield f"  See {mistake_page(one['cause'])}."
    for one in document["limitations"]:
        yield f"Limitation: {one['text']}."
        yield f"  Remedy: {one['remedy']}."


def _notes(document: Document) -> Iterator[str]:
    """Yield the harmless deviations, and what they mean for the verdict."""
    found = document["harmless"]
    if not found:
        return
    yield "These deviations count because of --strict:" if document["strict"] else "Notes, all harmless (they count with --strict):"
    yield from (f"  {one['cause']}: {one['evidence']}." for one in found)
    yield ""
