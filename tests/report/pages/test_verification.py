"""Page of the verification of a candidate."""

from __future__ import annotations

from robustbench_fgsm.report.pages.verification import build_verification_page
from tests.report.pages.test_evaluations import Elements, embedded
from tests.report.runs import HOSTILE, run
from tests.report.verifications import THRESHOLD, verification


def test_rows_remedies_and_verdict() -> None:
    text = build_verification_page(run(verification(direction=THRESHOLD)))
    assert '<p class="notice bad">WRONG: direction; 8 of 9 stages are right.</p>' in text
    assert '<td class="bad">WRONG</td>' in text
    assert "<td>gradient-threshold</td><td>take gradient.sign() without a threshold</td>" in text
    assert 'src="data:image/png;base64,' in text


def test_right_candidate_has_no_red() -> None:
    notes = [{"cause": "graph-attached", "evidence": "it requires a gradient", "remedy": "detach it"}]
    text = build_verification_page(run(verification(harmless=notes)))
    assert '<p class="notice good">RIGHT for images in [0, 1]' in text
    assert "<li>graph-attached: <bdi>it requires a gradient</bdi></li>" in text
    assert 'class="bad"' not in text


def test_limitations_are_listed() -> None:
    limits = [{"text": "no grey images", "remedy": "pass --image-shape 3x32x32"}]
    text = build_verification_page(run(verification(limitations=limits, verdict="incomplete", exit_code=1)))
    assert "<li><bdi>no grey images</bdi>: pass --image-shape 3x32x32</li>" in text


def test_page_is_complete_and_deterministic() -> None:
    document = verification(direction=THRESHOLD)
    document["candidate"]["name"] = HOSTILE
    text = build_verification_page(run(document))
    assert text == build_verification_page(run(document))
    assert embedded(text)["document"] == document
    sources = [tags["src"] or "" for _, tags in Elements(text).found if "src" in tags]
    assert all(source.startswith("data:") for source in sources)


def test_command_repeats_it() -> None:
    assert "rfgsm verify mine.py:fgsm --style plain --strict" in build_verification_page(run(verification(strict=True)))
