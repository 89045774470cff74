"""FGSM as stages, and the known mistakes in each stage."""
