"""An unreadable sample is known by its path and its reason."""

from __future__ import annotations

from robustbench_fgsm.data.bad_sample import BadSample


def test_equal_with_and_without_a_hash() -> None:
    """A run that is continued from an older ledger has no hashes."""
    assert BadSample("a.png", "empty", 7) == BadSample("a.png", "empty")
    assert BadSample("a.png", "empty") != BadSample("b.png", "empty")
