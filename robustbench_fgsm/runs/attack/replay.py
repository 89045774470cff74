"""Verify saved adversarial images: hash their files, craft the images again, and compare."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from robustbench_fgsm.attack.clip import pixel_tolerance
from robustbench_fgsm.attack.outputs import read_for_loss
from robustbench_fgsm.attack.quantization import levels_to_pixels
from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.match_model import as_classifier_and_data, match_to_classifier
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.preflight import preflight
from robustbench_fgsm.engine.progress_bar import ProgressSetting, as_function, with_progress_bar
from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS, SettingError
from robustbench_fgsm.evaluation.craft_shards import AdversarialShard, craft_shards
from robustbench_fgsm.evaluation.document import complete_document
from robustbench_fgsm.evaluation.evaluate import Progress
from robustbench_fgsm.evaluation.result_protocol import Result
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.options import ReloadOptions
from robustbench_fgsm.runs.attack.formats import Mismatch
from robustbench_fgsm.runs.attack.integrity import AttackManifest, check_files, check_manifest, read_attack_manifest
from robustbench_fgsm.runs.load_from_manifest import reload_classifiers, reload_data


@dataclass(frozen=True)
class ReplayCounts:
    """Counts over images that are crafted again, which add. Each channel of a pixel counts."""

    n: int = 0
    images_equal: int = 0
    pixels: int = 0
    pixels_differing: int = 0
    max_abs_difference: float = 0.0
    predictions_agree: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON; a difference that is not finite is null."""
        return asdict(self) | ({} if math.isfinite(self.max_abs_difference) else {"max_abs_difference": None})

    def __add__(self, other: ReplayCounts) -> ReplayCounts:
        sums = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        return ReplayCounts(**sums | {"max_abs_difference": max(self.max_abs_difference, other.max_abs_difference)})


@dataclass(frozen=True, repr=False)
class AttackCheck(Result):
    """The verification of saved adversarial images, with every mismatch between the manifest and what is found."""

    manifest: AttackManifest
    mismatches: tuple[Mismatch, ...]
    damaged: frozenset[int]
    replay: ReplayCounts
    environment: dict[str, Any]
    seconds: float

    @property
    def verified(self) -> bool:
        """Return True if there is no mismatch."""
        return not self.mismatches

    @property
    def invalid_reasons(self) -> list[str]:
        """Return why the numbers in the manifest must not be used."""
        return list(self.manifest.document["invalid_reasons"])

    @property
    def warnings(self) -> list[str]:
        """Return what a reader must know beside the verdict."""
        there, now = self.manifest.document["environment"], self.environment
        found = [f"{key} was {there.get(key)}, and is {now[key]}" for key in now if there.get(key) != now[key]]
        warnings = [f"last bits may differ in another environment: {'; '.join(found)}"] if found else []
        if self.replay.max_abs_difference > 0 and not self.replay.pixels_differing:
            warnings.append(
                f"{self.replay.n - self.replay.images_equal:,} of {self.replay.n:,} images differ in their last bits, "
                f"by at most {self.replay.max_abs_difference:.2g}"
            )
        return warnings

    def to_dict(self) -> dict[str, Any]:
        """Return the document of schema `rfgsm.attack-check/1`."""
        shards = len(self.manifest.shard_ranges)
        own = {
            "verdict": "verified" if self.verified else "not verified",
            "mismatches": [mismatch._asdict() for mismatch in self.mismatches],
            **{key: self.manifest.document[key] for key in ("model", "data", "attack", "output")},
            "plan": self.manifest.plan.to_dict(),
            "shards": {"count": shards, "intact": shards - len(self.damaged)},
            "replay": self.replay.to_dict(),
        }
        reasons, warnings = self.invalid_reasons, self.warnings
        code = EXIT_SUCCESS if self.verified and not reasons else EXIT_NEGATIVE_RESULT
        return complete_document("rfgsm.attack-check/1", own, self.environment, self.seconds, code, reasons, warnings)


@with_progress_bar
@neutral_settings(generators=True)
def check_adversarial(
    out: Path | str,
    classifier: Classifier | nn.Module | None = None,
    data: Dataset | Any | None = None,
    *,
    weights: str | None = None,
    limit: int | None = None,
    device: str = "auto",
    trust_model_code: bool = False,
    trust_data_code: bool = False,
    progress: ProgressSetting = None,
) -> AttackCheck:
    """Verify adversarial images of `save_adversarial`: hash every file, craft the images again, and compare.

    Images are not crafted again if weights or data have another hash than in the manifest. The result then names the mismatch.

    Args:
        out: directory of the images.
        classifier: the attacked classifier; None loads the model that the manifest names.
        data: the attacked images; None loads the data that the manifest names.
        weights: current place of the weights; None for the place in the manifest.
        limit: number of images that are crafted again, rounded up to whole batches, because the last bit depends on the batch;
            None for all.
        device: device of the loaded model: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        trust_model_code: run the code of the model that the manifest names; the author of the manifest chose this code.
        trust_data_code: run the data function that the manifest names.
        progress: called with images crafted and images in all; by default a bar in notebooks and terminals; False for none.

    Returns:
        The verification, with its mismatches.

    Raises:
        UnsafeError: if the manifest names code that is not trusted.
        RunError: if the directory holds no adversarial images.
        SettingError: if the limit is below 1.
        ModelError, DataError: if the classifier or the data cannot be loaded.
    """
    began = time.perf_counter()
    if limit is not None and limit < 1:
        raise SettingError(f"limit must be at least 1, got {limit}: leave it out for all images")
    manifest = read_attack_manifest(Path(out))
    damaged, found = check_files(manifest)
    mismatches = [*check_manifest(manifest, damaged), *found]
    options = ReloadOptions(weights, device, trust_model_code, trust_data_code)
    if classifier is None:
        classifier = reload_classifiers(manifest.document, "check", options)[0]
    data = reload_data(manifest.document, "check", options) if data is None else data
    classifier, data = as_classifier_and_data(classifier, data)
    data = match_to_classifier(data, classifier)
    strange = list(_check_model_and_data(manifest, classifier, data))
    replay, found = (
        (ReplayCounts(), [])
        if strange
        else _replay_shards(manifest, classifier, data, damaged, limit=limit, progress=as_function(progress))
    )
    return AttackCheck(
        manifest,
        (*mismatches, *strange, *found),
        damaged,
        replay,
        describe_environment(classifier.device),
        time.perf_counter() - began,
    )


def _check_model_and_data(manifest: AttackManifest, classifier: Classifier, data: Dataset) -> Iterator[Mismatch]:
    """Return a mismatch if weights or data have another hash than in the manifest."""
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
    """Craft the images of undamaged shards again and compare them, shard by shard."""
    classifier = read_for_loss(classifier, manifest.spec.loss)
    preflight(classifier, data, manifest.spec)
    wanted = {number: piece for number, piece in _first_shards(manifest, limit) if number not in damaged}
    shards = craft_shards(
        classifier, data, manifest.spec, wanted.values(), plan=manifest.plan, eight_bit=manifest.shard_format.eight_bit
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
    """Return the shards, or parts of shards, that hold the first `limit` images in whole batches."""
    left = len(manifest) if limit is None else limit
    for number, piece in enumerate(manifest.shard_ranges):
        batches = -(-left // manifest.plan.batch_size)
        if batches > 0:
            yield number, piece[: batches * manifest.plan.batch_size]
        left -= len(piece)


def compare_shard(manifest: AttackManifest, number: int, crafted: AdversarialShard) -> tuple[ReplayCounts, list[Mismatch]]:
    """Compare a stored shard with the images of it that are crafted again."""
    n, place = len(crafted.record), manifest.directory / manifest.shard_format.shard_name(number)
    if not n:
        return ReplayCounts(), []
    stored = manifest.shard_format.read_images(place)[:n]
    if (stored.shape, stored.dtype) != (crafted.images.shape, crafted.images.dtype):
        expected, found = (f"{images.dtype} {tuple(images.shape)}" for images in (crafted.images, stored))
        return ReplayCounts(n), [Mismatch(f"{place.name}: images", expected, found)]
    pixels = (levels_to_pixels(images) if manifest.shard_format.eight_bit else images for images in (stored, crafted.images))
    distance = torch.sub(*pixels).abs().nan_to_num(torch.inf)
    tolerance = pixel_tolerance(manifest.spec.bounds, distance)
    differing, largest = int((distance > tolerance).sum()), float(distance.max())
    columns = manifest.shard_format.read_columns(place)
    unlike = {
        name: np.not_equal(columns[name][:n], column).reshape(n, -1).any(1) if name in columns else np.ones(n, np.bool_)
        for name, column in crafted.record.to_columns().items()
    }
    predictions = np.any([flags for name, flags in unlike.items() if name.startswith("predictions")], axis=0)
    mismatches = [
        Mismatch(f"{place.name}: {name}", "as crafted again", f"{int(flags.sum()):,} of {n:,} differ")
        for name, flags in unlike.items()
        if flags.any()
    ]
    if differing:
        more = f"{tolerance:g}" if isinstance(tolerance, float) else "rounding"
        text = f"{differing:,} of {distance.numel():,} pixels differ by more than {more}, at most by {largest:.3g}"
        mismatches.insert(0, Mismatch(f"{place.name}: images", "as crafted again", text))
    equal = int((stored == crafted.images).flatten(1).all(1).sum())
    return ReplayCounts(n, equal, distance.numel(), differing, largest, n - int(predictions.sum())), mismatches
