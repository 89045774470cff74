"""CSV files of transfers."""

from __future__ import annotations

import csv
import io
import json

from robustbench_fgsm.report.documents.transfer_csv import csv_files, single_csv
from tests.report.runs import crossed


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
