"""Measure whether a candidate is a right FGSM."""
