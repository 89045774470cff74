"""Saved adversarial images verified: the hashes of their files, and the images themselves, crafted again."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robustbench_fgsm.attack.quantization import levels_to_pixels
from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.match_model import match_to_classifier
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.preflight import preflight
from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS, SettingError
from robustbench_fgsm.evaluation.craft_shards import AdversarialShard, craft_shards
from robustbench_fgsm.evaluation.evaluate import Progress
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.runs.attack.formats import Mismatch
from robustbench_fgsm.runs.attack.integrity import AttackManifest, check_files, check_manifest, read_attack_manifest
from robustbench_fgsm.runs.reload import reload_classifiers, reload_data
from robustbench_fgsm.spec import ReloadOptions

REPLAY_TOLERANCE = 1e-6
"""Pixels farther apart than this differ."""


@dataclass(frozen=True)
class ReplayCounts:
    """Counts over images that were crafted again; they add. Pixels count each channel for itself."""

    n: int = 0
    images_equal: int = 0
    pixels: int = 0
    pixels_differing: int = 0
    max_abs_difference: float = 0.0
    predictions_agree: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON knows them; the difference is null where it is not finite."""
        return asdict(self) | ({} if math.isfinite(self.max_abs_difference) else {"max_abs_difference": None})

    def __add__(self, other: ReplayCounts) -> ReplayCounts:
        sums = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        return ReplayCounts(**sums | {"max_abs_difference": max(self.max_abs_difference, other.max_abs_difference)})


@dataclass(frozen=True)
class AttackCheck:
    """Whether saved adversarial images are what their manifest says; what is not is named in `mismatches`."""

    manifest: AttackManifest
    mismatches: tuple[Mismatch, ...]
    damaged: frozenset[int]
    replay: ReplayCounts
    environment: dict[str, Any]
    seconds: float

    @property
    def verified(self) -> bool:
        """Whether everything is as it should be."""
        return not self.mismatches

    @property
    def warnings(self) -> list[str]:
        """What a reader must know beside the verdict."""
        there, now = self.manifest.document["environment"], self.environment
        found = [f"{key} was {there.get(key)}, and is {now[key]}" for key in now if there.get(key) != now[key]]
        warnings = [f"last bits may differ in another environment: {'; '.join(found)}"] if found else []
        if 0 < self.replay.max_abs_difference <= REPLAY_TOLERANCE:
            warnings.append(
                f"{self.replay.n - self.replay.images_equal:,} of {self.replay.n:,} images differ in their last bits, "
                f"by at most {self.replay.max_abs_difference:.2g}"
            )
        return warnings

    def to_dict(self) -> dict[str, Any]:
        """The document `rfgsm.attack-check/1`."""
        shards = len(self.manifest.shard_ranges)
        return {
            "schema": "rfgsm.attack-check/1",
            "status": "complete",
            "exit_code": EXIT_SUCCESS if self.verified else EXIT_NEGATIVE_RESULT,
            "invalid_reasons": [],
            "warnings": self.warnings,
            "verdict": "verified" if self.verified else "not verified",
            "mismatches": [mismatch._asdict() for mismatch in self.mismatches],
            **{key: self.manifest.document[key] for key in ("model", "data", "attack", "output")},
            "plan": self.manifest.plan.to_dict(),
            "shards": {"count": shards, "intact": shards - len(self.damaged)},
            "replay": self.replay.to_dict(),
            "environment": self.environment,
            "seconds": {"total": self.seconds},
        }


def check_adversarial(
    out: Path | str,
    classifier: Classifier | None = None,
    data: Dataset | None = None,
    *,
    weights: str | None = None,
    limit: int | None = None,
    device: str = "auto",
    trust_model_code: bool = False,
    trust_data_code: bool = False,
    progress: Progress | None = None,
) -> AttackCheck:
    """Verify adversarial images that `save_adversarial` saved: hash every file, craft the images again, and compare.

    out: their directory. classifier, data: what they were crafted from; by default what the manifest names, with the
    weights from another place where `weights` gives one. limit: craft only so many images again, rounded up to whole
    batches, for the last bit depends on the batch. The replay is left out, and the reason named, where weights or data
    are not those of the manifest. trust_model_code, trust_data_code: run the code that the manifest's model names, a factory
    or a model file, or its data; whoever wrote the manifest chose it. progress: called with images replayed and images in all.

    Raises UnsafeError where there is such code and no trust, RunError where the directory holds no such images,
    ModelError or DataError where classifier or data cannot be had.
    """
    began = time.perf_counter()
    if limit is not None and limit < 1:
        raise SettingError(f"limit must be at least 1, got {limit}: leave it out for all images")
    recipe = read_attack_manifest(Path(out))
    damaged, found = check_files(recipe)
    mismatches = [*check_manifest(recipe, damaged), *found]
    options = ReloadOptions(weights, device, trust_model_code, trust_data_code)
    classifier = classifier or reload_classifiers(recipe.document, "check", options)[0]
    data = match_to_classifier(data or reload_data(recipe.document, "check", options), classifier)
    strange = list(_check_model_and_data(recipe, classifier, data))
    replay, found = (
        (ReplayCounts(), []) if strange else _replay_shards(recipe, classifier, data, damaged, limit=limit, progress=progress)
    )
    return AttackCheck(
        recipe,
        (*mismatches, *strange, *found),
        damaged,
        replay,
        describe_environment(classifier.device),
        time.perf_counter() - began,
    )


def _check_model_and_data(manifest: AttackManifest, classifier: Classifier, data: Dataset) -> Iterator[Mismatch]:
    """What of weights and data is not what the images were crafted from."""
    expected = manifest.document["model"]["sha256"], manifest.document["data"]["fingerprint"]
    for where, before, now in zip(("weights", "data"), expected, (classifier.info.sha256, data.fingerprint), strict=True):
        if before != now:
            yield Mismatch(where, f"sha256 {before}", f"sha256 {now}")


def _replay_shards(
    manifest: AttackManifest,
    classifier: Classifier,
    data: Dataset,
    damaged: frozenset[int],
    *,
    limit: int | None,
    progress: Progress | None,
) -> tuple[ReplayCounts, list[Mismatch]]:
    """Craft the images of undamaged shards again and compare, one shard after the other."""
    preflight(classifier, data, manifest.spec)
    wanted = {number: piece for number, piece in _first_shards(manifest, limit) if number not in damaged}
    shards = craft_shards(
        classifier,
        data,
        manifest.spec,
        wanted.values(),
        plan=manifest.plan,
        eight_bit=manifest.shard_format.eight_bit,
    )
    replay, mismatches = ReplayCounts(), []
    for number in wanted:
        counts, found = compare_shard(manifest, number, next(shards))  # no name keeps a shard alive
        replay += counts
        mismatches += found
        if progress is not None:
            progress(replay.n, sum(map(len, wanted.values())))
    return replay, mismatches


def _first_shards(manifest: AttackManifest, limit: int | None) -> Iterator[tuple[int, range]]:
    """Shards, or their beginnings, that hold the first `limit` images, in whole batches."""
    left = len(manifest) if limit is None else limit
    for number, piece in enumerate(manifest.shard_ranges):
        batches = -(-left // manifest.plan.batch_size)
        if batches > 0:
            yield number, piece[: batches * manifest.plan.batch_size]
        left -= len(piece)


def compare_shard(manifest: AttackManifest, number: int, crafted: AdversarialShard) -> tuple[ReplayCounts, list[Mismatch]]:
    """A stored shard, or as much of it as was crafted again, beside the crafted one."""
    n, place = len(crafted.record), manifest.directory / manifest.shard_format.shard_name(number)
    if not n:
        return ReplayCounts(), []
    stored = manifest.shard_format.read_images(place)[:n]
    if (stored.shape, stored.dtype) != (crafted.images.shape, crafted.images.dtype):
        expected, found = (f"{images.dtype} {tuple(images.shape)}" for images in (crafted.images, stored))
        return ReplayCounts(n), [Mismatch(f"{place.name}: images", expected, found)]
    pixels = (levels_to_pixels(images) if manifest.shard_format.eight_bit else images for images in (stored, crafted.images))
    distance = torch.sub(*pixels).abs().nan_to_num(torch.inf)
    differing, largest = int((distance > REPLAY_TOLERANCE).sum()), float(distance.max())
    columns = manifest.shard_format.read_columns(place)
    unlike = {
        name: np.not_equal(columns[name][:n], column) if name in columns else np.ones(n, np.bool_)
        for name, column in crafted.record.to_columns().items()
    }
    predictions = np.any([flags for name, flags in unlike.items() if name.startswith("predictions")], axis=0)
    mismatches = [
        Mismatch(f"{place.name}: {name}", "as crafted again", f"{int(flags.sum()):,} of {n:,} differ")
        for name, flags in unlike.items()
        if flags.any()
    ]
    if differing:
        text = f"{differing:,} of {distance.numel():,} pixels differ by more than {REPLAY_TOLERANCE:g}, at most by {largest:.3g}"
        mismatches.insert(0, Mismatch(f"{place.name}: images", "as crafted again", text))
    equal = int((stored == crafted.images).flatten(1).all(1).sum())
    return ReplayCounts(n, equal, distance.numel(), differing, largest, n - int(predictions.sum())), mismatches
