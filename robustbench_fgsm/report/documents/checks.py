"""The checks of an evaluation beside FGSM: PGD, and signs of a masked gradient."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.evaluations_in import evaluations_in, is_multi_label_document
from robustbench_fgsm.report.tables.sheet import Sheet
from robustbench_fgsm.report.tables.text import epsilon_text, rate_text

UNCHECKED_NOTE = "Not checked: by how much FGSM overstates robust accuracy (--pgd-check N tries PGD-20 on N of the images)."


def check_sentences(document: Document) -> Iterator[str]:
    """Yield a sentence for each check of an evaluation or a sweep, or one that says that there was no check."""
    found = [(checked, evaluation) for evaluation in evaluations_in(document) if (checked := evaluation.get("pgd_check"))]
    if not found and not is_multi_label_document(document):  # which the check cannot take
        yield UNCHECKED_NOTE
    for checked, evaluation in found:
        yield _pgd_check_sentence(checked)
        masking = evaluation.get("masking_check")
        if masking is not None:
            yield from _masking_sentences(checked, masking)


def masking_sheet(evaluation: Document) -> Iterator[Sheet]:
    """Yield a table of the tests for a masked gradient, if the evaluation has them."""
    masking = evaluation.get("masking_check")
    if masking is not None:
        title = (
            f"Signs of a masked gradient, on {masking['right']:,} images right before, epsilon "
            f"{epsilon_text(masking['epsilon'])}; masking where p < {masking['threshold']:.2g}"
        )
        rows = tuple(
            (check["name"], check["verdict"], "" if check["p"] is None else f"{check['p']:.2g}", _counts_text(check["counts"]))
            for check in masking["checks"]
        )
        yield Sheet("masking", title, ("sign", "verdict", "p", "counts"), rows)


def _counts_text(counts: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items())


def _pgd_check_sentence(checked: Document) -> str:
    rule = "" if checked["targeted"] == "none" else f", targeted {checked['targeted']}"
    where = f"at epsilon {epsilon_text(checked['epsilon'])}{rule}, on {checked['n']:,} images"
    sides = f"FGSM {rate_text(checked['fgsm'])} %, PGD-{checked['steps']} {rate_text(checked['pgd'])} %"
    what, verb = ("attack success", "understates") if rule else ("robust accuracy", "overstates")
    lead = _overstatement_text(checked["overstated"])
    of = f", n={checked['fgsm']['n']:,} off target" if rule else ""
    return f"FGSM {verb} {what} by {lead} {where} ({sides}{of})."


def _overstatement_text(lead: Document) -> str:
    """Return a difference in percentage points with its interval; `n/a` if no image can be fooled."""
    if lead["value"] is None:
        return "n/a"
    return f"{100 * lead['value']:.1f} points [{100 * lead['low']:.1f}, {100 * lead['high']:.1f}]"


def _masking_sentences(checked: Document, masking: Document) -> Iterator[str]:
    weak = "PGD beats FGSM beyond the interval, as it usually does" if checked["weak_attack"] else "not found"
    yield f"weak-attack: {weak}."
    signs = [check for check in masking["checks"] if check["verdict"] == "masking"]
    looked = sum(check["verdict"] != "not judged" for check in masking["checks"])
    if signs:
        yield f"masking: FOUND by {len(signs)} of {looked} signs: {'; '.join(check['evidence'] for check in signs)}."
    else:
        yield f"masking: none of the {looked} signs looked for, at a level of {100 * masking['level']:g} % for all together."
    cosine = masking["alignment"]
    if cosine["mean"] is not None:
        undefined = f" ({cosine['undefined']:,} with a gradient of zero)" if cosine["undefined"] else ""
        interval = "" if cosine["low"] is None else f" [{cosine['low']:.3f}, {cosine['high']:.3f}]"
        yield (
            f"Gradient alignment {cosine['mean']:.3f}{interval}, n={cosine['n']:,}"
            f"{undefined}: near 1 the loss is linear in the ball, near 0 one gradient says nothing of the next."
        )
    else:
        yield f"Gradient alignment n/a: the gradients of all {cosine['undefined']:,} images are zero."
