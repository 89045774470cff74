"""Page of the verification of a candidate."""

from __future__ import annotations

import base64

from robustbench_fgsm.report.documents.verification import VERDICT_TEXTS, heading_lines, verdict_sentence
from robustbench_fgsm.report.figures.curves import encode_figure
from robustbench_fgsm.report.figures.verification import draw_responses
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.layout import render_page
from robustbench_fgsm.report.pages.tiles import verification_tiles


def build_verification_page(run: LoadedRun) -> str:
    """Return the page of a verification; an equal run always gives an equal page."""
    document = run.document
    picture = base64.b64encode(encode_figure(draw_responses(document), "png")).decode()
    return render_page(
        "verification.html.jinja",
        ("format", "page_data", "charts", "start"),
        {"document": document},
        [run],
        reasons=document["invalid_reasons"],
        gates=[(document["verdict"] == "right", verdict_sentence(document))],
        warnings=[],
        limits=[],
        tiles=list(verification_tiles(document, verdict_sentence(document))),
        document=document,
        heading=list(heading_lines(document)),
        verdicts=VERDICT_TEXTS,
        figure=f"data:image/png;base64,{picture}",
        failed=sum(call["failure"] is not None for call in document["calls"]),
    )
