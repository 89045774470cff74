"""Signs that a gradient is masked, each a test on its own; together they cry wolf once in a hundred runs at most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from robustbench_fgsm.evaluation.attacked_sample import HALF, Fates
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.paired import Paired
from robustbench_fgsm.stats.rate import Rate

LEVEL = 0.01
"""Of all tests together (Bonferroni): how often a network without masking may be found to have it."""

LEAST_LEAD = 0.1
"""By which FGSM must beat noise, in shares of the images that some attack fools."""

MOST_NOISE = 0.25
"""Where noise fools more than this share, the budget spoils images, and that noise does as well as FGSM says nothing."""

FEWEST = 20
"""Images that some attack fools, below which nothing is said of noise."""

REACHED = {"pgd at less": "less", "pgd": "epsilon", HALF: "half"}
"""How a budget is called in the name of a sign."""

Verdict = Literal["masking", "sound", "not judged"]


@dataclass(frozen=True)
class Sign:
    """One test. p: None where it was not judged, for the reason in `evidence`. counts: what it rests on."""

    name: str
    evidence: str
    counts: dict[str, int]
    p: float | None = None


@dataclass(frozen=True)
class Masking:
    """All tests on n images, of which so many were right before; alignment: (N,) cosines, NaN where undefined."""

    spec: AttackSpec
    n: int
    right: int
    signs: tuple[Sign, ...]
    alignment: tuple[float, ...]

    @property
    def threshold(self) -> float:
        """The p below which one test finds masking."""
        return LEVEL / max(1, sum(sign.p is not None for sign in self.signs))

    def verdict(self, sign: Sign) -> Verdict:
        """Of one test."""
        return "not judged" if sign.p is None else "masking" if sign.p < self.threshold else "sound"

    @property
    def found(self) -> tuple[Sign, ...]:
        """Tests that find masking."""
        return tuple(sign for sign in self.signs if self.verdict(sign) == "masking")

    @property
    def warning(self) -> str | None:
        """In a sentence; None where nothing was found."""
        if not self.found:
            return None
        return f"gradient masking: {'; '.join(sign.evidence for sign in self.found)}; FGSM's answer is not robustness"

    def to_dict(self) -> dict[str, Any]:
        """The tests as JSON knows them."""
        return {
            "n": self.n,
            "right": self.right,
            "seed": self.spec.seed,
            "epsilon": self.spec.epsilons[0],
            "level": LEVEL,
            "threshold": self.threshold,
            "masking": bool(self.found),
            "checks": [
                {
                    "name": sign.name,
                    "verdict": self.verdict(sign),
                    "p": sign.p,
                    "counts": sign.counts,
                    "evidence": sign.evidence,
                }
                for sign in self.signs
            ],
            "alignment": summarised(np.array(self.alignment)),
        }


def judge_masking(fates: Fates, spec: AttackSpec) -> Masking:
    """All tests, on the images that were right before."""
    right = fates.right
    fooled = {name: fates.fooled(name)[right] for name in fates.after}
    signs = (
        _fgsm(fooled),
        _square(fooled),
        _half(fooled, fates.labels[right]),
        *_falls(fooled, fates.budgets),
        _noise(fooled),
    )
    return Masking(spec, len(fates), int(right.sum()), signs, tuple(fates.alignment.tolist()))


def _beats(name: str, pair: Paired, evidence: str) -> Sign:
    """The weaker, first, fools more than the stronger: McNemar's test."""
    counts = {"right": pair.n, "weaker_only": pair.first_only, "stronger_only": pair.second_only}
    return Sign(name, evidence, counts, pair.first_leads())


def _fgsm(fooled: dict[str, Any]) -> Sign:
    pair = Paired.of(fooled["fgsm"], fooled["pgd"])
    text = f"of {pair.n:,} images FGSM fools {pair.first_only:,} that PGD does not, and PGD {pair.second_only:,} that FGSM does not"
    return _beats("fgsm-beats-pgd", pair, text)


def _square(fooled: dict[str, Any]) -> Sign:
    if "square" not in fooled:
        return Sign("square-beats-pgd", "ART's Square attack does not run on such a model or images", {})
    pair = Paired.of(fooled["square"], fooled["pgd with restarts"])
    text = (
        f"of {pair.n:,} images Square, which takes no gradient, fools {pair.first_only:,} that PGD with restarts does not, "
        f"and PGD {pair.second_only:,} that Square does not"
    )
    return _beats("square-beats-pgd", pair, text)


def _half(fooled: dict[str, Any], labels: Any) -> Sign:
    """At a budget that holds the grey image, one class at most can be right: that of the grey image."""
    from scipy.stats import binomtest

    name = "pgd-fails-at-half"
    if HALF not in fooled or not len(labels):
        return Sign(name, "without bounds, or images right before, there is no half", {})
    n, left, most = len(labels), int((~fooled[HALF]).sum()), int(np.bincount(labels).max())
    text = (
        f"PGD at half of the range, where every image can be made grey, leaves {left:,} of {n:,} images right, "
        f"and a class has {most:,} at most"
    )
    counts = {"right": n, "left": left, "largest_class": most}
    return Sign(name, text, counts, float(binomtest(left, n, most / n, "greater").pvalue))


def _falls(fooled: dict[str, Any], budgets: Mapping[str, float]) -> Iterator[Sign]:
    """PGD at one budget and at the next."""
    said = {"pgd at less": "half of epsilon", "pgd": "epsilon", HALF: "half of the range"}
    names = sorted((name for name in said if name in fooled), key=lambda name: budgets[name])
    for less, more in pairwise(names):
        pair, smaller, larger = Paired.of(fooled[less], fooled[more]), said[less], said[more]
        text = (
            f"of {pair.n:,} images PGD fools {pair.first_only:,} at {smaller} and not at {larger}, "
            f"and {pair.second_only:,} at {larger} and not at {smaller}"
        )
        yield _beats(f"pgd-falls-to-{REACHED[more]}", pair, text)


def _noise(fooled: dict[str, Any]) -> Sign:
    name = "noise-matches-fgsm"
    some = fooled["pgd with restarts"] | fooled["fgsm"] | fooled["noise"] | fooled.get("square", fooled["noise"])
    pair, by_noise = Paired.of(fooled["noise"][some], fooled["fgsm"][some]), Rate(int(fooled["noise"].sum()), len(some))
    counts = {"right": len(some), "fooled": pair.n, "noise": pair.first.count, "fgsm": pair.second.count}
    if pair.n < FEWEST:
        return Sign(name, f"fewer than {FEWEST} images are fooled by any attack", counts)
    if (by_noise.value or 0) > MOST_NOISE:
        return Sign(name, f"noise fools {by_noise} of {by_noise.n:,} images, so the budget spoils them", counts)
    text = (
        f"of {pair.n:,} images that some attack fools, FGSM fools {pair.second.count:,} and random signs of its size "
        f"{pair.first.count:,}"
    )
    return Sign(name, text, counts, pair.second_leads_by(LEAST_LEAD))


def summarised(cosines: np.typing.NDArray[np.float64]) -> dict[str, Any]:
    """Mean cosine with its 95 % interval (Student's t), and images whose cosine is undefined."""
    from scipy.stats import t

    known = cosines[np.isfinite(cosines)]
    n, mean = len(known), float(known.mean()) if len(known) else None
    low, high = None, None
    if mean is not None and n > 1:
        half = float(t.ppf(0.975, n - 1)) * float(known.std(ddof=1)) / n**0.5
        low, high = max(-1.0, mean - half), min(1.0, mean + half)
    return {"mean": mean, "low": low, "high": high, "n": n, "undefined": len(cosines) - n}
