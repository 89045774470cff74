"""Summary of a transfer document."""

from __future__ import annotations

from robustbench_fgsm.report.documents.transfer import summarize
from tests.report.printed import printed
from tests.report.runs import crossed


def test_pairs_hold_every_rate() -> None:
    document = crossed()
    sheets = summarize(document).sheets
    assert [sheet.name for sheet in sheets] == ["models", "pairs", "pairs", *["per_class"] * 8]
    for place, sheet in enumerate(sheets[1:3]):
        rates = [cell["epsilons"][place] for cell in document["cells"]]
        assert [row[1] for row in sheet.rows] == [at["robust_accuracy"] for at in rates]
        assert [row[3] for row in sheet.rows] == [at["attack_success_rate"] for at in rates]
        assert [row[5] for row in sheet.rows] == [at["common_success_rate"] for at in rates]


def test_explains_common_success_only_if_counted() -> None:
    document = crossed()
    assert "At all: " in printed(document)
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            at["common_success_rate"] = None
    assert "At all: " not in printed(document)
    assert len(summarize(document).sheets[1].columns) == 5


def test_it_fits_80_columns() -> None:
    assert max(map(len, printed(crossed()).splitlines())) <= 80
