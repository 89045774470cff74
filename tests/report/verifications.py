"""Documents of verifications, made by hand."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]

OK_STAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "loss": ("cross-entropy of the given labels (0 of 53,760 signs wrong)", {"name": "ce", "wrong_share": 0.0}),
    "labels": ("given", {"rule": "given"}),
    "direction": ("sign, for |gradient| from 1e-36 to 1e+30", {"magnitude": ["1e-2", "1e-1"], "response": [1.0, 1.0]}),
    "size": ("1 times epsilon", {"factors": {"size": 1.0, "size, small": 1.0}}),
    "clip": ("to [0, 1]", {"low": [0.0, 0.0, 0.0], "high": [1.0, 1.0, 1.0]}),
    "output": ("as given", {}),
    "steps": ("one", {"gradients": 1}),
    "randomness": ("none: the same call gives the same images", {"largest_difference": 0.0}),
    "conduct": ("the result depends on the arguments alone", {}),
}


def verification(**changed: Any) -> Document:
    """Return the document of a right candidate; changed: entries of stages, by stage, or of the document."""
    stages = [
        {"stage": stage, "verdict": "ok", "cause": None, "measured": dict(numbers), "expected": "", "text": text, "remedy": ""}
        | changed.pop(stage, {})
        for stage, (text, numbers) in OK_STAGES.items()
    ]
    verdicts = {stage["verdict"] for stage in stages}
    verdict = "wrong" if "wrong" in verdicts else "incomplete" if "unmeasured" in verdicts else "right"
    return {
        "schema": "rfgsm.verification/2",
        "status": "complete",
        "exit_code": 0 if verdict == "right" else 1,
        "invalid_reasons": [],
        "verdict": verdict,
        "candidate": {"name": "mine.py:fgsm", "style": "plain", "targets": False, "version": "", "sha256": "", "note": ""},
        "strict": False,
        "stages": stages,
        "conduct": [],
        "harmless": [],
        "limitations": [],
        "calls": [
            {"name": "size", "epsilon": 0.0437, "wrong_pixels": 0, "pixels": 30720, "failure": None},
            {"name": "size, small", "epsilon": 0.0101, "wrong_pixels": None, "pixels": None, "failure": "raises ValueError"},
        ],
        "warnings": [],
        "environment": {"package": "1", "python": "3.11", "torch": "2.9", "device": "cpu"},
        "seconds": {"total": 1.2},
        **changed,
    }


THRESHOLD: Document = {
    "verdict": "wrong",
    "cause": "gradient-threshold",
    "text": "sign, but 0 for |gradient| below 1e-06",
    "expected": "the sign of the gradient",
    "remedy": "take gradient.sign() without a threshold",
    "measured": {"magnitude": ["1e-8", "1e-6", "1e-1"], "response": [0.0, 0.5, 1.0]},
}
NAMELESS: Document = {
    "verdict": "wrong",
    "text": "0.5 to 2 times epsilon",
    "expected": "1 times epsilon",
    "remedy": "use one epsilon for all images",
    "measured": {"sizes": {"size": 0.02, "size, small": 0.01}},
}
UNMEASURED: Document = {"verdict": "unmeasured", "text": "no pixel moved", "measured": {}}
