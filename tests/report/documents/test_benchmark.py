"""Summary of a benchmark document."""

from __future__ import annotations

import copy
from typing import Any

from robustbench_fgsm.report.documents.benchmark import summarize
from tests.report.printed import printed, unwrapped

Document = dict[str, Any]

RATE = {"value": 0.5, "count": 32, "n": 64, "low": 0.38, "high": 0.62}


def timing(task: str, seconds: float, ratio: float) -> Document:
    found = {"median": seconds, "low": seconds, "high": seconds}
    return {
        "task": task,
        "epsilons": [0.1],
        "seconds": found,
        "ratio": {"median": ratio, "low": ratio / 2, "high": 2 * ratio},
        "limit_share": 0.5 / ratio,
    }


def contender(name: str, ratio: float, **changes: Any) -> Document:
    return {
        "name": name,
        "version": "",
        "timings": [timing("attack", ratio, ratio), timing("job", 2 * ratio, ratio)],
        "epsilons": [{"epsilon": 0.1, "robust_accuracy": RATE}],
        "memory": {"before": 2**20, "above": 2**21, "peak": 3 * 2**20},
        "memory_error": None,
        "error": None,
    } | changes


DOCUMENT: Document = {
    "schema": "rfgsm.benchmark/1",
    "model": {"spec": "mlp300", "weights": "standard"},
    "data": {"spec": "fashion-mnist"},
    "environment": {"device": "cpu", "processor": "a processor", "cores": 2, "threads": 1, "torch": "2.0"},
    "attack": {"norm": "inf", "epsilons": [0.1]},
    "n": 64,
    "batch_size": 32,
    "rounds": 1,
    "unit": "bare",
    "noise": [{"task": "attack", "epsilons": [0.1], "relative": 0.05}, {"task": "job", "epsilons": [0.1], "relative": None}],
    "roofline": {"forward_flops": 10, "gradient_flops": 20, "flops_per_second": 5e11},
    "contenders": [contender("bare loop", 1.0), contender("ours safe", 12.5)],
    "absent": [{"name": "foolbox", "install": "pip install foolbox"}],
    "warnings": [],
    "invalid_reasons": [],
}


def test_times_have_a_ratio() -> None:
    timings, memory = summarize(DOCUMENT).sheets
    assert [row[:5] for row in timings.rows] == [
        ("bare\nloop", "  1.000", "1.00\n0.50-2.00", "  2.000", "1.00\n0.50-2.00"),
        ("ours\nsafe", " 12.500", "12.5\n6.25-25.0", " 25.000", "12.5\n6.25-25.0"),
    ]
    assert [row[5:] for row in timings.rows] == [("50.0", RATE), (" 4.0", RATE)]
    assert [row[-1] for row in memory.rows] == ["1.00", "1.00"]


def test_the_answer_names_the_ratios_of_the_job() -> None:
    assert summarize(DOCUMENT).verdict.endswith("bare loop 1.00, ours safe 12.5.")


def test_names_failures_and_missing_libraries() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["contenders"][1] = contender("ours safe", 1.0, memory=None, memory_error="no process", error=None)
    document["contenders"].append(contender("foolbox", 1.0, error="it raised"))
    text = unwrapped(document)
    assert "up to 5% of their median: the noise." in text
    assert "Memory of ours safe not measured: no process" in text
    assert "Failed: foolbox: it raised" in text
    assert "rate of a float32 matrix multiplication in this run, 500 GFLOP/s." in text
    assert "cannot count the operations" in unwrapped(document | {"roofline": None})
    assert "Not installed: foolbox: pip install foolbox" in text


def test_it_fits_80_columns() -> None:
    assert max(map(len, printed(DOCUMENT).splitlines())) <= 80
