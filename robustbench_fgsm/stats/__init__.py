"""Counts, rates, confusion matrices and tests of paired differences."""
