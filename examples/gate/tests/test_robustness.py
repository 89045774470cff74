"""The network stays as robust as `robustness.lock` says."""

from __future__ import annotations

from network import load_network  # type: ignore[import-not-found, unused-ignore]  # beside the folder of the tests

import robustbench_fgsm as rf
from robustbench_fgsm.pytest_plugin import RobustnessCheck


def test_robustness(rfgsm: RobustnessCheck) -> None:
    rfgsm.check(load_network(), rf.load_data("fashion-mnist", limit=500), eps="1/255")
