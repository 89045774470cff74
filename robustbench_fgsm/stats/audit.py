"""Count the differences that a random audit of predictions finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

CONFIDENCE = 0.95


@dataclass(frozen=True)
class AuditCounts:
    """Audited images, and those whose prediction differed in the audit. Counts add."""

    audited: int = 0
    differing: int = 0

    def __add__(self, other: AuditCounts) -> AuditCounts:
        """Return the sum of two counts."""
        return AuditCounts(self.audited + other.audited, self.differing + other.differing)

    @property
    def at_most(self) -> float | None:
        """Largest share of all images that differs, with 95 % confidence, if no audited image does; else None.

        The upper end of the one-sided exact interval (Clopper and Pearson 1934, Biometrika 26) for a count of 0.
        """
        return 1 - (1 - CONFIDENCE) ** (1 / self.audited) if self.audited and not self.differing else None

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as a JSON object."""
        return asdict(self) | {"at_most": self.at_most, "confidence": CONFIDENCE}

    def __str__(self) -> str:
        share = "" if self.at_most is None else f", at most {100 * self.at_most:.1f} % ({100 * CONFIDENCE:g} %)"
        return f"audited {self.audited:,}, differing {self.differing:,}{share}"


NO_AUDIT = AuditCounts()
