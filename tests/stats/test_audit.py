"""Test the counts of an audit, and what they say about the images that were not audited."""

from __future__ import annotations

import pytest

from robustbench_fgsm.stats.audit import NO_AUDIT, AuditCounts


def test_counts_add() -> None:
    assert AuditCounts(3, 1) + AuditCounts(4, 0) + NO_AUDIT == AuditCounts(7, 1)


def test_share_that_may_differ() -> None:
    """With this share differing, an audit without a difference has a probability of 5 %."""
    share = AuditCounts(500).at_most
    assert share is not None
    assert (1 - share) ** 500 == pytest.approx(0.05)
    assert AuditCounts(500, 1).at_most is None
    assert NO_AUDIT.at_most is None


@pytest.mark.parametrize(
    ("counts", "text"),
    [(AuditCounts(500), "audited 500, differing 0, at most 0.6 % (95 %)"), (AuditCounts(1000, 2), "audited 1,000, differing 2")],
)
def test_text(counts: AuditCounts, text: str) -> None:
    assert str(counts) == text
