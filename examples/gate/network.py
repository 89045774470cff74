"""The network of this repository."""

from __future__ import annotations

import robustbench_fgsm as rf


def load_network() -> rf.Classifier:
    """Return the network that users get."""
    return rf.load_classifier("smallcnn")
