"""The schema of a ledger's records: a record counts only if it names its run, and all its values fit the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from robustbench_fgsm.engine.dataset_pieces import PieceRecord, Pieces
from robustbench_fgsm.evaluation.transfer_pairs import evaluated_models
from robustbench_fgsm.runs.piece_format import decode_piece, encode_piece, read_head
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.distance import UNKNOWN
from robustbench_fgsm.stats.tally import BatchOutcomes, IntArray

MALFORMED_ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)
"""Errors of a record whose values have other types than records have."""

MAX_SECONDS = 10**8
"""Longest time of a piece, about three years, so that the sum over all pieces is a number."""

RecordOrigin = Literal["own", "damaged", "foreign", "unnamed"]
"""A record of the run, one that does not fit its schema, one of another run, and one that names no run."""


def run_identity(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the settings of a run, by which its records name it."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class RecordSchema:
    """What the records of one run hold.

    Args:
        run: identity of the run.
        pieces: division of the images into pieces.
        num_classes: number of classes K.
        is_multi_label: whether labels and predictions are multi-hot rows (N, K).
        budgets: number of budgets of each attack, in the order of a record's outcomes.
        targeted: whether each attack is targeted.
        audited: whether the run audits its predictions.
        measured: whether each attack measures distances.
    """

    run: str
    pieces: Pieces
    num_classes: int
    budgets: tuple[int, ...]
    targeted: tuple[bool, ...]
    audited: bool
    measured: tuple[bool, ...]
    is_multi_label: bool = False

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> RecordSchema:
        """Return the schema of a run with these settings, those of its manifest; raise KeyError, TypeError or ValueError."""
        transfer = settings["command"] == "transfer"
        attacks = [settings["attack"]] if transfer else settings["attacks"]
        specs = [AttackSpec.from_dict(attack, attack["epsilons"]) for attack in attacks]
        if transfer:
            specs *= sum(len(evaluated_models(source, settings["targets"])) for source in settings["sources"])
        return cls(
            run_identity(settings),
            Pieces(int(settings["data"]["n"]), int(settings["piece_size"])),
            len(settings["data"]["classes"]),
            tuple(len(spec.epsilons) for spec in specs),
            tuple(spec.target.targeted for spec in specs),
            audited=not transfer,
            measured=tuple(spec.max_epsilon is not None for spec in specs),
            is_multi_label=settings["data"].get("task") == "multilabel",
        )

    def origin(self, content: bytes) -> RecordOrigin:
        """Return where a whole record comes from, and whether it fits."""
        try:
            head = read_head(content)
            if head.get("run") != self.run:
                return "foreign" if "run" in head else "unnamed"
            return "own" if self._has_valid_head(head) and self._fits(decode_piece(content), content) else "damaged"
        except MALFORMED_ERRORS:
            return "damaged"

    def _has_valid_head(self, head: Mapping[str, Any]) -> bool:
        """Return True if the values have their types, and the sizes are small enough to be allocated."""
        if not (_is_count(head["piece"]) and head["piece"] < len(self.pieces) and _is_count(head["n"])):
            return False
        size, attacks = len(self.pieces.span(head["piece"])), len(self.budgets) if head["n"] else 0
        numbers = [*head["decided_again"], *(count for counts in head["audits"] for count in counts)]
        texts = [sample[key] for sample in head["bad"] for key in ("path", "reason")]
        return (
            head["n"] + len(head["bad"]) == size
            and head["attacks"] == len(head["decided_again"]) == attacks
            and len(head["audits"]) == (attacks if self.audited else 0)
            and all(_is_count(number) and number <= size * max(self.budgets) for number in numbers)
            and all(isinstance(text, str) for text in texts)
            and all(sample["hash"] is None or type(sample["hash"]) is int for sample in head["bad"])
            and type(head["seconds"]) in (int, float)
            and 0 <= head["seconds"] <= MAX_SECONDS
        )

    def _fits(self, record: PieceRecord, content: bytes) -> bool:
        if encode_piece(record, self.run) != content:  # other columns, or values in another form
            return False
        if not len(record):
            return True
        return (
            record.hashes is not None
            and len(np.unique(record.ids)) == len(record.ids)
            and int(record.ids.min()) >= 0
            and all(audit.differing <= audit.audited for audit in record.audits)
            and all(map(self._outcomes_fit, record.outcomes, self.budgets, self.targeted))
            and all(map(_distances_fit, record.outcomes, self.measured))
        )

    def _outcomes_fit(self, outcomes: BatchOutcomes, budgets: int, targeted: bool) -> bool:
        n, predictions = len(outcomes), [outcomes.before, outcomes.after]
        row, limit = ((self.num_classes,), 2) if self.is_multi_label else ((), self.num_classes)
        classes: Sequence[IntArray] = [outcomes.labels, *([] if outcomes.targets is None else [outcomes.targets])]
        if outcomes.after_stable is not None:
            predictions.append(outcomes.after_stable)
        close = np.zeros(1, np.int64) if outcomes.close is None else outcomes.close
        return (
            outcomes.after.shape == (n, budgets, *row)
            and outcomes.labels.shape == outcomes.before.shape == (n, *row)
            and int(close.min()) >= 0
            and int(close.max()) < 2 ** (budgets + 1)
            and (outcomes.close is None or close.shape == (n,))
            and (outcomes.targets is not None) == targeted
            and all(column.shape[:1] == (n,) and int(column.max()) < limit for column in [*classes, *predictions])
            and all(int(column.min()) >= 0 for column in classes)
            and all(int(column.min()) >= -1 for column in predictions)
        )


def _distances_fit(outcomes: BatchOutcomes, measured: bool) -> bool:
    if outcomes.distances is None or not measured:
        return outcomes.distances is None and not measured
    found = [column for column in (outcomes.distances, outcomes.distances_stable) if column is not None]
    known = all(column.shape == outcomes.labels.shape and column.min() >= 0 and column.max() <= UNKNOWN for column in found)
    return known and (outcomes.distances_stable is None) == (outcomes.after_stable is None)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0
