"""Test that a record counts only if it names its run and fits the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.runs.piece_format import HASH_LENGTH, RECORD_PREFIX, encode_piece
from robustbench_fgsm.runs.record_schema import run_identity
from robustbench_fgsm.stats.audit import AuditCounts
from robustbench_fgsm.stats.distance import UNKNOWN
from tests.runs.piece_records import RUN, drawn, schema

Head = dict[str, Any]


def rewritten(change: Callable[[Head], object], record: PieceRecord | None = None) -> bytes:
    """A record with another head, and with the right hash of it."""
    line, _, payload = encode_piece(record or drawn(1), RUN).partition(b"\n")
    head = json.loads(line)
    del head["sha256"]
    change(head)
    rest = f'",{json.dumps(head, separators=(",", ":"))[1:]}\n'.encode() + payload
    content = RECORD_PREFIX + hashlib.sha256(rest).hexdigest().encode() + rest
    assert len(content) > HASH_LENGTH
    return content


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("classes", [10, 1000])
def test_accepts_records_of_the_run(targeted: bool, classes: int) -> None:
    own = schema(3, targeted=targeted, classes=classes)
    assert own.origin(encode_piece(drawn(2, targeted=targeted, classes=classes, gap=1), RUN)) == "own"
    assert schema(3).origin(rewritten(lambda _: None)) == "own"


def test_distances_belong_to_runs_that_measure_them() -> None:
    measured, bare = (encode_piece(drawn(1, measured=flag), RUN) for flag in (True, False))
    assert schema(3, measured=True).origin(measured) == schema(3).origin(bare) == "own"
    assert schema(3).origin(measured) == schema(3, measured=True).origin(bare) == "damaged"


@pytest.mark.parametrize("value", [-1, UNKNOWN + 1])
@pytest.mark.parametrize("name", ["distances", "distances_stable"])
def test_distances_lie_on_the_scale(name: str, value: int) -> None:
    record = drawn(1, measured=True)
    outcomes = record.outcomes[0]
    changed = np.where(outcomes.saturated, value, getattr(outcomes, name))
    assert outcomes.saturated.any()
    broken = replace(record, outcomes=(replace(outcomes, **{name: changed}), record.outcomes[1]))
    assert schema(3, measured=True).origin(encode_piece(broken, RUN)) == "damaged"


def test_accepts_a_piece_without_images() -> None:
    empty = PieceRecord(0, bad=(BadSample("a.png", "empty"),), seconds=0.1)
    assert schema(3, n=0).origin(encode_piece(empty, RUN)) == "own"


def test_names_records_of_other_runs() -> None:
    assert schema(3).origin(encode_piece(drawn(1), "1" * 64)) == "foreign"
    assert schema(3).origin(rewritten(lambda head: head.pop("run"))) == "unnamed"


def test_identity_depends_on_every_setting() -> None:
    settings = {"command": "sweep", "attacks": [{"epsilons": [0.1]}]}
    assert run_identity(settings) == run_identity(dict(reversed(settings.items())))
    assert run_identity(settings) != run_identity(settings | {"attacks": [{"epsilons": [0.2]}]})


LIES: dict[str, Callable[[Head], object]] = {
    f"{key}: {value!r:.20}": lambda head, key=key, value=value: head.update({key: value})  # type: ignore[misc]
    for key, values in {
        "piece": (3, 2**70, True),
        "n": (6, 8, 2**40, -7, "7", None, 7.0),
        "attacks": (1, 3, 10**9, "2"),
        "first_id": (-5, 2**63, "0", 1.5, None),
        "decided_again": ([], [1], [1, -1], [1, "0"], [1, 10**9], 5, None),
        "audits": ([], [[7, 0]], [[7, 8], [7, 0]], [[7], [7]], [["7", 0], [7, 0]], None),
        "bad": ([], [{"path": "a"}], [{"path": 1, "reason": "", "hash": 7}], [{"path": "a", "reason": "b", "hash": "7"}], "a"),
        "seconds": (-1.0, float("nan"), float("inf"), 1e308, 10**19, "1", None, True),
        "columns": ([], None, [["labels", "|O", [7]]], [["labels", "<f8", [7]]], [["labels", "|u1", [2**40]]]),
        "more": (1,),
    }.items()
    for value in values
}
"""Changes of a record's head after which its hash is computed again."""


@pytest.mark.parametrize("lie", LIES)
def test_no_field_is_believed(lie: str) -> None:
    assert schema(3).origin(rewritten(LIES[lie])) == "damaged"


def column(name: str, value: Any) -> PieceRecord:
    record = drawn(1)
    return replace(record, outcomes=(replace(record.outcomes[0], **{name: value}), record.outcomes[1]))


@pytest.mark.parametrize(
    "record",
    [
        column("labels", np.full(7, 10)),
        column("before", np.full(7, 10)),
        column("before", np.full(7, -2)),
        column("after", np.full((7, 2), 10)),
        column("after", np.zeros((7, 3), np.int64)),
        column("after", np.zeros((6, 2), np.int64)),
        column("before", np.zeros(6, np.int64)),
        column("targets", np.zeros(7, np.int64)),
        replace(drawn(1), hashes=None),
        replace(drawn(1), outcomes=(replace(drawn(1).outcomes[0], ids=np.zeros(7, np.int64)),) * 2),
        replace(drawn(1), outcomes=(replace(drawn(1).outcomes[0], ids=np.arange(7) - 3),) * 2),
        replace(drawn(1), audits=(AuditCounts(1, 2),) * 2),
        replace(drawn(1), bad=()),
        drawn(1, 6),
        drawn(3),
    ],
)
def test_no_column_is_believed(record: PieceRecord) -> None:
    assert schema(3).origin(encode_piece(record, RUN)) == "damaged"


def test_deep_json_is_damage() -> None:
    rest = b'","piece":1,"run":' + b"[" * 100_000 + b"\n"
    assert schema(3).origin(RECORD_PREFIX + hashlib.sha256(rest).hexdigest().encode() + rest) == "damaged"


@pytest.mark.parametrize("close", [[8] * 7, [-1] * 7, [[0]] * 7, [0] * 6], ids=str)
def test_marks_of_close_predictions_must_fit(close: list[object]) -> None:
    record = drawn(1)
    broken = replace(record, outcomes=tuple(replace(outcomes, close=np.array(close)) for outcomes in record.outcomes))
    assert schema(3).origin(encode_piece(broken, RUN)) == "damaged"
