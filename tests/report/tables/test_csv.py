"""CSV that a spreadsheet and a data frame read alike."""

from __future__ import annotations

from robustbench_fgsm.report.tables.csv import sheet_to_csv, summary_csv_files, summary_to_single_csv
from robustbench_fgsm.report.tables.sheet import Section, Sheet, Summary

RATE = {"value": 0.5, "count": 1, "n": 2, "low": 0.1, "high": 0.9}
SHEET = Sheet("rates", "Rates", ("", "job\nseconds", "rate", ""), (("ours", " 7.32\n1.5x", RATE, 3), ("=art", 0.25, "n/a", None)))


def test_rates_take_five_columns() -> None:
    assert sheet_to_csv(SHEET).splitlines() == [
        "name,job seconds,rate,rate_count,rate_n,rate_low,rate_high,column 4",
        "ours,7.32 1.5x,0.5,1,2,0.1,0.9,3",
        "'=art,0.25,,,,,,",
    ]


def test_an_empty_sheet_has_its_header() -> None:
    assert sheet_to_csv(Sheet("runs", "", ("run", "state"), ())) == "run,state\n"


def test_numbers_sheets_with_equal_names() -> None:
    summary = Summary(("heading",), (Section((SHEET,)), Section((SHEET, SHEET))))
    assert list(summary_csv_files(summary)) == ["rates.csv", "rates_2.csv", "rates_3.csv"]
    assert summary_to_single_csv(summary) == sheet_to_csv(SHEET)
    assert summary_to_single_csv(Summary(("heading",))) == ""
