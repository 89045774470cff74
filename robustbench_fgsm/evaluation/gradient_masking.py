"""Test for gradient masking. The family-wise false-positive rate of all tests is at most 1 %."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from robustbench_fgsm.evaluation.attacked_sample import PGD_AT_HALF_RANGE, SampleOutcomes
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.paired import PairedCounts
from robustbench_fgsm.stats.rate import Rate

SIGNIFICANCE_LEVEL = 0.01
"""Family-wise false-positive rate of all tests (Bonferroni)."""

MIN_FGSM_LEAD = 0.1
"""Lead that FGSM needs over noise, as a share of the images that some attack fools."""

MAX_NOISE_SHARE = 0.25
"""If noise fools more than this share, the budget destroys images, and noise is not compared with FGSM."""

MIN_FOOLED_IMAGES = 20
"""Images that some attack must fool before noise is compared with FGSM."""

BUDGET_NAMES = {"pgd at less": "less", "pgd": "epsilon", PGD_AT_HALF_RANGE: "half"}
"""Short name of each budget, for the name of a test."""

MaskingVerdict = Literal["masking", "sound", "not judged"]


@dataclass(frozen=True)
class MaskingTest:
    """One test for masking: its evidence, counts, and p-value; None if the test could not run, as `evidence` explains."""

    name: str
    evidence: str
    counts: dict[str, int]
    p: float | None = None


@dataclass(frozen=True)
class MaskingCheck:
    """All tests on n images; alignment: (N,) cosines, NaN if undefined."""

    spec: AttackSpec
    n: int
    clean_correct: int
    tests: tuple[MaskingTest, ...]
    alignment: tuple[float, ...]

    @property
    def threshold(self) -> float:
        """P-value below which one test finds masking."""
        return SIGNIFICANCE_LEVEL / max(1, sum(test.p is not None for test in self.tests))

    def verdict(self, test: MaskingTest) -> MaskingVerdict:
        """Return the verdict of one test."""
        return "not judged" if test.p is None else "masking" if test.p < self.threshold else "sound"

    @property
    def positive_tests(self) -> tuple[MaskingTest, ...]:
        """Tests that find gradient masking."""
        return tuple(test for test in self.tests if self.verdict(test) == "masking")

    @property
    def warning(self) -> str | None:
        """Warning about gradient masking; None if no test finds it."""
        if not self.positive_tests:
            return None
        return f"gradient masking: {'; '.join(test.evidence for test in self.positive_tests)}; FGSM's answer is not robustness"

    def to_dict(self) -> dict[str, Any]:
        """Return all tests as a JSON object."""
        return {
            "n": self.n,
            "right": self.clean_correct,
            "seed": self.spec.seed,
            "epsilon": self.spec.epsilons[0],
            "level": SIGNIFICANCE_LEVEL,
            "threshold": self.threshold,
            "masking": bool(self.positive_tests),
            "checks": [
                {"name": test.name, "verdict": self.verdict(test), "p": test.p, "counts": test.counts, "evidence": test.evidence}
                for test in self.tests
            ],
            "alignment": alignment_to_dict(np.array(self.alignment)),
        }


def run_masking_tests(outcomes: SampleOutcomes, spec: AttackSpec) -> MaskingCheck:
    """Run all tests on the images that are right before the attacks."""
    correct = outcomes.clean_correct
    fooled = {name: outcomes.fooled(name)[correct] for name in outcomes.budgets}
    tests = (
        _fgsm_beats_pgd(fooled),
        _square_beats_pgd(fooled),
        _pgd_fails_at_half(fooled, outcomes.outcomes.labels[correct]),
        *_pgd_falls_with_budget(fooled, outcomes.budgets),
        _noise_matches_fgsm(fooled),
    )
    return MaskingCheck(spec, len(outcomes), int(correct.sum()), tests, tuple(outcomes.alignment.tolist()))


def _mcnemar_test(name: str, pair: PairedCounts, evidence: str) -> MaskingTest:
    """Test by McNemar whether the first, weaker attack fools more images than the stronger one."""
    counts = {"right": pair.n, "weaker_only": pair.first_only, "stronger_only": pair.second_only}
    return MaskingTest(name, evidence, counts, pair.mcnemar_p_value())


def _fgsm_beats_pgd(fooled: dict[str, Any]) -> MaskingTest:
    pair = PairedCounts.of(fooled["fgsm"], fooled["pgd"])
    text = f"of {pair.n:,} images FGSM fools {pair.first_only:,} that PGD does not, and PGD {pair.second_only:,} that FGSM does not"
    return _mcnemar_test("fgsm-beats-pgd", pair, text)


def _square_beats_pgd(fooled: dict[str, Any]) -> MaskingTest:
    if "square" not in fooled:
        return MaskingTest("square-beats-pgd", "ART's Square attack does not run on this model or these images", {})
    pair = PairedCounts.of(fooled["square"], fooled["pgd with restarts"])
    text = (
        f"of {pair.n:,} images Square, which takes no gradient, fools {pair.first_only:,} that PGD with restarts does not, "
        f"and PGD {pair.second_only:,} that Square does not"
    )
    return _mcnemar_test("square-beats-pgd", pair, text)


def _pgd_fails_at_half(fooled: dict[str, Any], labels: Any) -> MaskingTest:
    """Test PGD at a budget that reaches the grey image, where only the class of the grey image can stay right."""
    from scipy.stats import binomtest

    name = "pgd-fails-at-half"
    if PGD_AT_HALF_RANGE not in fooled or not len(labels):
        return MaskingTest(name, "without bounds, or images right before, there is no half", {})
    n, left, most = len(labels), int((~fooled[PGD_AT_HALF_RANGE]).sum()), int(np.bincount(labels).max())
    text = (
        f"PGD at half of the range, where every image can be made grey, leaves {left:,} of {n:,} images right, "
        f"and a class has {most:,} at most"
    )
    counts = {"right": n, "left": left, "largest_class": most}
    return MaskingTest(name, text, counts, float(binomtest(left, n, most / n, "greater").pvalue))


def _pgd_falls_with_budget(fooled: dict[str, Any], budgets: Mapping[str, float]) -> Iterator[MaskingTest]:
    """Test whether PGD fools fewer images at a larger budget."""
    described = {"pgd at less": "half of epsilon", "pgd": "epsilon", PGD_AT_HALF_RANGE: "half of the range"}
    names = sorted((name for name in described if name in fooled), key=lambda name: budgets[name])
    for less, more in pairwise(names):
        pair, smaller, larger = PairedCounts.of(fooled[less], fooled[more]), described[less], described[more]
        text = (
            f"of {pair.n:,} images PGD fools {pair.first_only:,} at {smaller} and not at {larger}, "
            f"and {pair.second_only:,} at {larger} and not at {smaller}"
        )
        yield _mcnemar_test(f"pgd-falls-to-{BUDGET_NAMES[more]}", pair, text)


def _noise_matches_fgsm(fooled: dict[str, Any]) -> MaskingTest:
    name = "noise-matches-fgsm"
    by_any = fooled["pgd with restarts"] | fooled["fgsm"] | fooled["noise"] | fooled.get("square", fooled["noise"])
    pair, by_noise = PairedCounts.of(fooled["noise"][by_any], fooled["fgsm"][by_any]), Rate(int(fooled["noise"].sum()), len(by_any))
    counts = {"right": len(by_any), "fooled": pair.n, "noise": pair.first_rate.count, "fgsm": pair.second_rate.count}
    if pair.n < MIN_FOOLED_IMAGES:
        return MaskingTest(name, f"fewer than {MIN_FOOLED_IMAGES} images are fooled by any attack", counts)
    if (by_noise.value or 0) > MAX_NOISE_SHARE:
        return MaskingTest(name, f"noise fools {by_noise} of {by_noise.n:,} images, so the budget spoils them", counts)
    text = (
        f"of {pair.n:,} images that some attack fools, FGSM fools {pair.second_rate.count:,} and random signs of its size "
        f"{pair.first_rate.count:,}"
    )
    return MaskingTest(name, text, counts, pair.difference_at_least_p_value(MIN_FGSM_LEAD))


def alignment_to_dict(cosines: np.typing.NDArray[np.float64]) -> dict[str, Any]:
    """Return the mean cosine with its 95 % interval (Student's t), and the number of undefined cosines."""
    from scipy.stats import t

    known = cosines[np.isfinite(cosines)]
    n, mean = len(known), float(known.mean()) if len(known) else None
    low, high = None, None
    if mean is not None and n > 1:
        half = float(t.ppf(0.975, n - 1)) * float(known.std(ddof=1)) / n**0.5
        low, high = max(-1.0, mean - half), min(1.0, mean + half)
    return {"mean": mean, "low": low, "high": high, "n": n, "undefined": len(cosines) - n}
