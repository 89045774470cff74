"""Summary of a transfer document."""

from __future__ import annotations

import csv
import io
import json

from robustbench_fgsm.report.documents.transfer import csv_files, single_csv, summarize
from tests.report.printed import printed
from tests.report.runs import crossed

RATES = ("robust_accuracy", "attack_success_rate", "common_success_rate")


def test_matrices_hold_every_rate() -> None:
    document = crossed()
    sheets = summarize(document).sheets
    assert [sheet.name for sheet in sheets] == ["models", *RATES * 2, *["per_class"] * 8]
    for place, sheet in enumerate(sheets[1:7]):
        rates = [cell["epsilons"][place // 3][RATES[place % 3]] for cell in document["cells"]]
        assert [rate for row in sheet.rows[::2] for rate in row[1:]] == rates
        assert [n for row in sheet.rows[1::2] for n in row[1:]] == [rate["n"] for rate in rates]


def test_many_targets_have_a_row_for_each_pair() -> None:
    document = crossed()
    few = len(document["targets"])
    document["targets"] = [document["targets"][place % few] for place in range(5)]
    document["cells"] = [document["cells"][place % few] for place in range(5)] * 2
    sheet = summarize(document).sheets[1]
    assert sheet.name == "pairs"
    assert len(sheet.rows) == 10


def test_explains_common_success_only_if_counted() -> None:
    document = crossed()
    assert "Common success, or at all: " in printed(document)
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            at["common_success_rate"] = None
    assert "Common success" not in printed(document)


def test_it_fits_80_columns() -> None:
    assert max(map(len, printed(crossed()).splitlines())) <= 80


def test_tables_hold_every_rate() -> None:
    document = crossed()
    files = csv_files(document)
    assert sorted(files) == ["models.csv", "pairs.csv", "per_class.csv"]
    rows = list(csv.DictReader(io.StringIO(files["pairs.csv"])))
    assert len(rows) == 4 * 2
    assert [int(row["attack_success_rate_n"]) for row in rows] == [
        at["attack_success_rate"]["n"] for cell in document["cells"] for at in cell["epsilons"]
    ]
    assert single_csv(document) == files["per_class.csv"]
    without = json.loads(json.dumps(document))
    for cell in without["cells"]:
        for at in cell["epsilons"]:
            at["per_class"] = None
    assert single_csv(without) == files["pairs.csv"] == csv_files(without)["pairs.csv"]
