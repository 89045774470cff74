"""Signs that a gradient is masked, each a test on its own; together they cry wolf once in a hundred runs at most."""

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
"""Of all tests together (Bonferroni): how often a network without masking may be found to have it."""

MIN_FGSM_LEAD = 0.1
"""By which FGSM must beat noise, in shares of the images that some attack fools."""

MAX_NOISE_SHARE = 0.25
"""Where noise fools more than this share, the budget spoils images, and that noise does as well as FGSM says nothing."""

MIN_FOOLED_IMAGES = 20
"""Images that some attack fools, below which nothing is said of noise."""

BUDGET_NAMES = {"pgd at less": "less", "pgd": "epsilon", PGD_AT_HALF_RANGE: "half"}
"""How a budget is called in the name of a sign."""

MaskingVerdict = Literal["masking", "sound", "not judged"]


@dataclass(frozen=True)
class MaskingTest:
    """One test. p: None where it was not judged, for the reason in `evidence`. counts: what it rests on."""

    name: str
    evidence: str
    counts: dict[str, int]
    p: float | None = None


@dataclass(frozen=True)
class MaskingCheck:
    """All tests on n images, of which so many were right before; alignment: (N,) cosines, NaN where undefined."""

    spec: AttackSpec
    n: int
    clean_correct: int
    tests: tuple[MaskingTest, ...]
    alignment: tuple[float, ...]

    @property
    def threshold(self) -> float:
        """The p below which one test finds masking."""
        return SIGNIFICANCE_LEVEL / max(1, sum(sign.p is not None for sign in self.tests))

    def verdict(self, test: MaskingTest) -> MaskingVerdict:
        """Of one test."""
        return "not judged" if test.p is None else "masking" if test.p < self.threshold else "sound"

    @property
    def positive_tests(self) -> tuple[MaskingTest, ...]:
        """Tests that find masking."""
        return tuple(sign for sign in self.tests if self.verdict(sign) == "masking")

    @property
    def warning(self) -> str | None:
        """In a sentence; None where nothing was found."""
        if not self.positive_tests:
            return None
        return f"gradient masking: {'; '.join(sign.evidence for sign in self.positive_tests)}; FGSM's answer is not robustness"

    def to_dict(self) -> dict[str, Any]:
        """The tests as JSON knows them."""
        return {
            "n": self.n,
            "right": self.clean_correct,
            "seed": self.spec.seed,
            "epsilon": self.spec.epsilons[0],
            "level": SIGNIFICANCE_LEVEL,
            "threshold": self.threshold,
            "masking": bool(self.positive_tests),
            "checks": [
                {
                    "name": sign.name,
                    "verdict": self.verdict(sign),
                    "p": sign.p,
                    "counts": sign.counts,
                    "evidence": sign.evidence,
                }
                for sign in self.tests
            ],
            "alignment": alignment_to_dict(np.array(self.alignment)),
        }


def run_masking_tests(outcomes: SampleOutcomes, spec: AttackSpec) -> MaskingCheck:
    """All tests, on the images that were right before."""
    right = outcomes.clean_correct
    fooled = {name: outcomes.fooled(name)[right] for name in outcomes.after}
    signs = (
        _fgsm_beats_pgd(fooled),
        _square_beats_pgd(fooled),
        _pgd_fails_at_half(fooled, outcomes.labels[right]),
        *_pgd_falls_with_budget(fooled, outcomes.budgets),
        _noise_matches_fgsm(fooled),
    )
    return MaskingCheck(spec, len(outcomes), int(right.sum()), signs, tuple(outcomes.alignment.tolist()))


def _mcnemar_test(name: str, pair: PairedCounts, evidence: str) -> MaskingTest:
    """The weaker, first, fools more than the stronger: McNemar's test."""
    counts = {"right": pair.n, "weaker_only": pair.first_only, "stronger_only": pair.second_only}
    return MaskingTest(name, evidence, counts, pair.mcnemar_p_value())


def _fgsm_beats_pgd(fooled: dict[str, Any]) -> MaskingTest:
    pair = PairedCounts.of(fooled["fgsm"], fooled["pgd"])
    text = f"of {pair.n:,} images FGSM fools {pair.first_only:,} that PGD does not, and PGD {pair.second_only:,} that FGSM does not"
    return _mcnemar_test("fgsm-beats-pgd", pair, text)


def _square_beats_pgd(fooled: dict[str, Any]) -> MaskingTest:
    if "square" not in fooled:
        return MaskingTest("square-beats-pgd", "ART's Square attack does not run on such a model or images", {})
    pair = PairedCounts.of(fooled["square"], fooled["pgd with restarts"])
    text = (
        f"of {pair.n:,} images Square, which takes no gradient, fools {pair.first_only:,} that PGD with restarts does not, "
        f"and PGD {pair.second_only:,} that Square does not"
    )
    return _mcnemar_test("square-beats-pgd", pair, text)


def _pgd_fails_at_half(fooled: dict[str, Any], labels: Any) -> MaskingTest:
    """At a budget that holds the grey image, one class at most can be right: that of the grey image."""
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
    """PGD at one budget and at the next."""
    said = {"pgd at less": "half of epsilon", "pgd": "epsilon", PGD_AT_HALF_RANGE: "half of the range"}
    names = sorted((name for name in said if name in fooled), key=lambda name: budgets[name])
    for less, more in pairwise(names):
        pair, smaller, larger = PairedCounts.of(fooled[less], fooled[more]), said[less], said[more]
        text = (
            f"of {pair.n:,} images PGD fools {pair.first_only:,} at {smaller} and not at {larger}, "
            f"and {pair.second_only:,} at {larger} and not at {smaller}"
        )
        yield _mcnemar_test(f"pgd-falls-to-{BUDGET_NAMES[more]}", pair, text)


def _noise_matches_fgsm(fooled: dict[str, Any]) -> MaskingTest:
    name = "noise-matches-fgsm"
    some = fooled["pgd with restarts"] | fooled["fgsm"] | fooled["noise"] | fooled.get("square", fooled["noise"])
    pair, by_noise = PairedCounts.of(fooled["noise"][some], fooled["fgsm"][some]), Rate(int(fooled["noise"].sum()), len(some))
    counts = {"right": len(some), "fooled": pair.n, "noise": pair.first_rate.count, "fgsm": pair.second_rate.count}
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
    """Mean cosine with its 95 % interval (Student's t), and images whose cosine is undefined."""
    from scipy.stats import t

    known = cosines[np.isfinite(cosines)]
    n, mean = len(known), float(known.mean()) if len(known) else None
    low, high = None, None
    if mean is not None and n > 1:
        half = float(t.ppf(0.975, n - 1)) * float(known.std(ddof=1)) / n**0.5
        low, high = max(-1.0, mean - half), min(1.0, mean + half)
    return {"mean": mean, "low": low, "high": high, "n": n, "undefined": len(cosines) - n}
