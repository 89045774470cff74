"""Evaluate a classifier under attack, and check what the evaluation says."""
