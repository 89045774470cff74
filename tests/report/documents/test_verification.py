"""The datasheet of a candidate."""

from __future__ import annotations

import pytest

from robustbench_fgsm.report.documents.verification import summarize
from robustbench_fgsm.report.summarize import single_csv
from robustbench_fgsm.report.tables.html import summary_to_html
from robustbench_fgsm.report.tables.markdown import summary_to_markdown
from tests.report.printed import printed, unwrapped
from tests.report.verifications import NAMELESS, THRESHOLD, UNMEASURED, Document, verification

WRONG = verification(direction=THRESHOLD, size=NAMELESS)
HARMLESS = [{"cause": "graph-attached", "evidence": "in call `rows` it requires a gradient", "remedy": "detach it"}]
LIMITED = [{"text": "it does not take grey images", "remedy": "pass --image-shape 3x32x32"}]


def test_each_stage_has_a_row() -> None:
    (sheet,) = summarize(WRONG).sheets
    assert len(sheet.rows) == 9
    assert sheet.rows[1] == ("labels", "given", "ok", "")
    assert sheet.rows[2] == ("direction", THRESHOLD["text"], "WRONG", "gradient-threshold")
    assert sheet.rows[3] == ("size", NAMELESS["text"], "WRONG", "")


def test_wrong_stages_have_a_remedy_and_a_page() -> None:
    lines = printed(WRONG).splitlines()
    at = lines.index("direction: expected the sign of the gradient.")
    assert lines[at + 1 : at + 3] == [
        "  Remedy: take gradient.sign() without a threshold.",
        "  See docs/reference/mistakes/gradient-threshold.md.",
    ]
    assert lines[at + 3 : at + 5] == ["size: expected 1 times epsilon.", "  Remedy: use one epsilon for all images."]


@pytest.mark.parametrize(
    ("document", "last"),
    [
        (verification(), "RIGHT for images in [0, 1]: all 9 stages are measured and right."),
        (WRONG, "WRONG: direction, size; 7 of 9 stages are right."),
        (verification(steps=UNMEASURED), "INCOMPLETE: nothing is wrong, but not everything is measured (steps)."),
        (
            verification(limitations=LIMITED, verdict="incomplete", exit_code=1),
            "INCOMPLETE: nothing is wrong, but not everything is measured (1 limitation).",
        ),
        (
            verification(strict=True, harmless=HARMLESS, verdict="wrong", exit_code=1),
            "WRONG: all measured stages are right, but harmless deviations count with --strict.",
        ),
    ],
)
def test_verdict_comes_last(document: Document, last: str) -> None:
    assert unwrapped(document).endswith(last)


def test_pixel_space_is_said_in_style_plain_only() -> None:
    document = verification()
    document["candidate"]["style"] = "normalised"
    assert printed(document).splitlines()[-1] == "RIGHT: all 9 stages are measured and right."


def test_limitations_have_a_remedy() -> None:
    text = unwrapped(verification(limitations=LIMITED, verdict="incomplete", exit_code=1))
    assert "Limitation: it does not take grey images. Remedy: pass --image-shape 3x32x32." in text


def test_harmless_deviations_are_notes() -> None:
    text = unwrapped(verification(harmless=HARMLESS))
    assert "Notes, all harmless (they count with --strict): graph-attached: in call `rows` it requires a gradient." in text
    assert "Warning" not in text
    strict = unwrapped(verification(harmless=HARMLESS, strict=True, verdict="wrong", exit_code=1))
    assert "These deviations count because of --strict: graph-attached" in strict


def test_other_faults_of_the_conduct_are_listed() -> None:
    faults = [
        {"cause": "mutates-input", "evidence": "x has changed", "remedy": "work on a copy"},
        {"cause": None, "evidence": "1 % of the pixels are wrong", "remedy": ""},
        {"cause": "train-mode", "evidence": "train mode in call `rows`", "remedy": "call model.eval()"},
    ]
    wrong = {"verdict": "wrong", "cause": "mutates-input", "text": "x has changed; and more", "remedy": "work on a copy"}
    text = unwrapped(verification(conduct=wrong) | {"conduct": faults})
    assert "conduct: 1 % of the pixels are wrong. conduct: train mode in call `rows`. Remedy: call model.eval()." in text
    assert text.count("x has changed") == 1


def test_note_of_the_call_stands_above() -> None:
    document = verification()
    document["candidate"]["note"] = "Arguments are passed by name."
    assert printed(document).splitlines()[:2] == ["mine.py:fgsm, style plain", "Arguments are passed by name."]


def test_fits_into_80_columns() -> None:
    long = THRESHOLD | {"text": "a long text about pixels " * 8, "cause": "returns-clean-on-failure"}
    lines = printed(verification(direction=long, limitations=LIMITED * 3)).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[-2:] == ["WRONG", "returns-clean-on-failure"] for line in lines)


def test_all_renderers_show_the_rows() -> None:
    summary = summarize(WRONG)
    assert "| direction | sign, but 0 for \\|gradient\\| below 1e-06 | WRONG | gradient-threshold |" in summary_to_markdown(summary)
    assert '<td class="text">gradient-threshold</td>' in summary_to_html(summary)
    assert single_csv(WRONG).splitlines()[3] == 'direction,"sign, but 0 for |gradient| below 1e-06",WRONG,gradient-threshold'
