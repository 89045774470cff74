"""Adversarial images saved in a run directory, and their verification."""
