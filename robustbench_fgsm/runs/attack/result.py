"""The result of `rfgsm attack`: saved adversarial images and their counts. The result is also the manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from robustbench_fgsm.attack.losses import CANCELLING_LOSSES
from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.plan import PLAIN_PLAN, Plan
from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS, IncompleteError
from robustbench_fgsm.evaluation.craft_shards import ShardTotals
from robustbench_fgsm.evaluation.document import (
    bad_samples_to_dict,
    gradient_shares,
    output_shares,
    tally_invalid_reasons,
    tally_warnings,
)
from robustbench_fgsm.evaluation.result import clean_to_dict, rates_to_dict
from robustbench_fgsm.evaluation.result_protocol import Result
from robustbench_fgsm.runs.directory import ATTACK_SCHEMA
from robustbench_fgsm.runs.manifest import plan_from_manifest
from robustbench_fgsm.runs.settings import device_kind
from robustbench_fgsm.stats.tally import Tally

SETTING_KEYS = ("model", "data", "attack", "output")
DERIVED_KEYS = ("n", "bad", "clean", "adversarial", "rounded", "gradient", "status", "exit_code", "invalid_reasons")
"""Keys of a manifest that follow from the shards."""


@dataclass(frozen=True, repr=False)
class SavedAttack(Result):
    """Adversarial images in a directory: their settings as JSON, counts over the saved images, and an entry for each shard."""

    model: dict[str, Any]
    data: dict[str, Any]
    attack: dict[str, Any]
    output: dict[str, Any]
    totals: ShardTotals
    preflight_warnings: tuple[str, ...]
    environment: dict[str, Any]
    files: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0
    max_bad: int = 0
    plan: Plan = PLAIN_PLAN

    @property
    def tally(self) -> Tally:
        """Return the counts of the images in float32, as computed."""
        return self.totals.unrounded

    @property
    def rounded(self) -> Tally | None:
        """Return the counts of the images rounded to 8 bits; None if images are not rounded."""
        return self.totals.rounded

    @property
    def _tallies(self) -> list[Tally]:
        return [self.tally] if self.rounded is None else [self.tally, self.rounded]

    @property
    def complete(self) -> bool:
        """Return True if all images are saved."""
        return self.tally.n + len(self.bad) == int(self.data["n"])

    @property
    def bad(self) -> tuple[BadSample, ...]:
        """Return the unreadable samples, which are in no count."""
        return tuple(BadSample(**sample) for file in self.files for sample in file.get("bad", ()))

    @property
    def invalid_reasons(self) -> list[str]:
        """Return the reasons for which the numbers must not be used."""
        return tally_invalid_reasons(self._tallies, self.bad, self.max_bad)

    @property
    def warnings(self) -> list[str]:
        """Return what a reader must know beside the numbers."""
        cancels = self.attack["loss"] in CANCELLING_LOSSES and not self.attack["stable"]
        counted = tally_warnings(self.tally, cancels=cancels, bad=self.bad, max_bad=self.max_bad)
        found = [*self.preflight_warnings, *counted]
        outside, pixels = self.totals.pixels_outside, self.totals.pixels
        if outside:
            found.append(
                f"rounding: {outside:,} of {pixels:,} pixels have no 8-bit value within the budget; "
                "they went to the one nearest to the clean pixel"
            )
        return found

    @property
    def exit_code(self) -> int:
        """Return 0 for a valid run, 1 for an invalid run, 3 for an incomplete run."""
        if not self.complete:
            return IncompleteError.exit_code
        return EXIT_NEGATIVE_RESULT if self.invalid_reasons else EXIT_SUCCESS

    def add(self, record: dict[str, Any], totals: ShardTotals) -> SavedAttack:
        """Return the saved attack with one more shard."""
        files = sorted((*self.files, record), key=lambda file: str(file["name"]))
        return replace(self, totals=self.totals + totals, files=tuple(files))

    def to_dict(self) -> dict[str, Any]:
        """Return the document of schema `rfgsm.attack/1`, which is also the manifest."""
        tally, classes = self.tally, self.data["classes"]
        document = {
            "schema": ATTACK_SCHEMA,
            "status": ("invalid" if self.invalid_reasons else "complete") if self.complete else "incomplete",
            "exit_code": self.exit_code,
            "invalid_reasons": self.invalid_reasons,
            "warnings": self.warnings,
            "model": self.model,
            "data": self.data,
            "attack": self.attack,
            "output": self.output,
            "n": tally.n,
            "bad": bad_samples_to_dict(self.bad, self.max_bad),
            "clean": clean_to_dict(tally),
            "adversarial": rates_to_dict(tally, classes),
            "rounded": self._rounded_to_dict(classes),
            "gradient": gradient_shares(tally),
            "outputs": output_shares(self._tallies),
            "files": list(self.files),
            "plan": self.plan.to_dict(),
            "environment": self.environment,
            "seconds": {"total": self.seconds},
        }
        return document | {"checksum": checksum(document)}

    def _rounded_to_dict(self, classes: list[str]) -> dict[str, Any] | None:
        if self.rounded is None:
            return None
        counts = {key: getattr(self.totals, key) for key in ("pixels", "pixels_outside", "predictions_changed")}
        return counts | rates_to_dict(self.rounded, classes)


def attack_settings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in a manifest, by the keys of `run_settings`."""
    environment = manifest.get("environment") or {}
    return {
        "command": "attack",
        **{key: manifest.get(key) for key in SETTING_KEYS},
        "plan": plan_from_manifest(manifest).settings(),
        "max_bad": (manifest.get("bad") or {}).get("allowed"),
        "device": device_kind(str(environment.get("device"))),
        "package": environment.get("package"),
        "torch": str(environment.get("torch")).partition("+")[0],
    }


def checksum(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON object with sorted keys, without its own `checksum`."""
    rest = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
