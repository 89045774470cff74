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

from robustbench_fgsm.attack.quantization import to_pixels
from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.match_model import fit_to
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.preflight import preflight
from robustbench_fgsm.errors import AGREE, DISAGREE, SettingError
from robustbench_fgsm.evaluation.craft_shards import Shard, craft_shards
from robustbench_fgsm.evaluation.evaluate import Progress
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.runs.attack.formats import Mismatch
from robustbench_fgsm.runs.attack.integrity import Recipe, check_files, check_manifest, read_recipe
from robustbench_fgsm.runs.reload import classifier_of, data_of

TOLERANCE = 1e-6
"""Pixels farther apart than this differ."""


@dataclass(frozen=True)
class Replay:
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

    def __add__(self, other: Replay) -> Replay:
        sums = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        return Replay(**sums | {"max_abs_difference": max(self.max_abs_difference, other.max_abs_difference)})


@dataclass(frozen=True)
class AttackCheck:
    """Whether saved adversarial images are what their manifest says; what is not is named in `mismatches`."""

    recipe: Recipe
    mismatches: tuple[Mismatch, ...]
    damaged: frozenset[int]
    replay: Replay
    environment: dict[str, Any]
    seconds: float

    @property
    def verified(self) -> bool:
        """Whether everything is as it should be."""
        return not self.mismatches

    @property
    def warnings(self) -> list[str]:
        """What a reader must know beside the verdict."""
        there, now = self.recipe.document["environment"], self.environment
        found = [f"{key} was {there.get(key)}, and is {now[key]}" for key in now if there.get(key) != now[key]]
        warnings = [f"last bits may differ in another environment: {'; '.join(found)}"] if found else []
        if 0 < self.replay.max_abs_difference <= TOLERANCE:
            warnings.append(
                f"{self.replay.n - self.replay.images_equal:,} of {self.replay.n:,} images differ in their last bits, "
                f"by at most {self.replay.max_abs_difference:.2g}"
            )
        return warnings

    def to_dict(self) -> dict[str, Any]:
        """The document `rfgsm.attack-check/1`."""
        shards = len(self.recipe.pieces)
        return {
            "schema": "rfgsm.attack-check/1",
            "status": "complete",
            "exit_code": AGREE if self.verified else DISAGREE,
            "invalid_reasons": [],
            "warnings": self.warnings,
            "verdict": "verified" if self.verified else "not verified",
            "mismatches": [mismatch._asdict() for mismatch in self.mismatches],
            **{key: self.recipe.document[key] for key in ("model", "data", "attack", "output")},
            "plan": self.recipe.plan.to_dict(),
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
    recipe = read_recipe(Path(out))
    damaged, found = check_files(recipe)
    mismatches = [*check_manifest(recipe, damaged), *found]
    classifier = classifier or classifier_of(
        recipe.document, "check", weights, device, trust_model_code=trust_model_code
    )
    data = fit_to(data or data_of(recipe.document, "check", trust_code=trust_data_code), classifier)
    strange = list(_check_subject(recipe, classifier, data))
    replay, found = (
        (Replay(), []) if strange else _replay(recipe, classifier, data, damaged, limit=limit, progress=progress)
    )
    return AttackCheck(
        recipe,
        (*mismatches, *strange, *found),
        damaged,
        replay,
        describe_environment(classifier.device),
        time.perf_counter() - began,
    )


def _check_subject(recipe: Recipe, classifier: Classifier, data: Dataset) -> Iterator[Mismatch]:
    """What of weights and data is not what the images were crafted from."""
    expected = recipe.document["model"]["sha256"], recipe.document["data"]["fingerprint"]
    for where, before, now in zip(
        ("weights", "data"), expected, (classifier.info.sha256, data.fingerprint), strict=True
    ):
        if before != now:
            yield Mismatch(where, f"sha256 {before}", f"sha256 {now}")


def _replay(
    recipe: Recipe,
    classifier: Classifier,
    data: Dataset,
    damaged: frozenset[int],
    *,
    limit: int | None,
    progress: Progress | None,
) -> tuple[Replay, list[Mismatch]]:
    """Craft the images of undamaged shards again and compare, one shard after the other."""
    preflight(classifier, data, recipe.spec)
    wanted = {number: piece for number, piece in _first(recipe, limit) if number not in damaged}
    shards = craft_shards(
        classifier,
        data,
        recipe.spec,
        wanted.values(),
        plan=recipe.plan,
        eight_bit=recipe.kind.eight_bit,
    )
    replay, mismatches = Replay(), []
    for number in wanted:
        counts, found = compare_shard(recipe, number, next(shards))  # no name keeps a shard alive
        replay += counts
        mismatches += found
        if progress is not None:
            progress(replay.n, sum(map(len, wanted.values())))
    return replay, mismatches


def _first(recipe: Recipe, limit: int | None) -> Iterator[tuple[int, range]]:
    """Shards, or their beginnings, that hold the first `limit` images, in whole batches."""
    left = len(recipe) if limit is None else limit
    for number, piece in enumerate(recipe.pieces):
        batches = -(-left // recipe.plan.batch_size)
        if batches > 0:
            yield number, piece[: batches * recipe.plan.batch_size]
        left -= len(piece)


def compare_shard(recipe: Recipe, number: int, crafted: Shard) -> tuple[Replay, list[Mismatch]]:
    """A stored shard, or as much of it as was crafted again, beside the crafted one."""
    n, place = len(crafted.facts), recipe.out / recipe.kind.place(number)
    if not n:
        return Replay(), []
    stored = recipe.kind.images(place)[:n]
    if (stored.shape, stored.dtype) != (crafted.images.shape, crafted.images.dtype):
        expected, found = (f"{images.dtype} {tuple(images.shape)}" for images in (crafted.images, stored))
        return Replay(n), [Mismatch(f"{place.name}: images", expected, found)]
    pixels = (to_pixels(images) if recipe.kind.eight_bit else images for images in (stored, crafted.images))
    distance = torch.sub(*pixels).abs().nan_to_num(torch.inf)
    differing, largest = int((distance > TOLERANCE).sum()), float(distance.max())
    columns = recipe.kind.columns(place)
    unlike = {
        name: np.not_equal(columns[name][:n], column) if name in columns else np.ones(n, np.bool_)
        for name, column in crafted.facts.to_columns().items()
    }
    predictions = np.any([flags for name, flags in unlike.items() if name.startswith("predictions")], axis=0)
    mismatches = [
        Mismatch(f"{place.name}: {name}", "as crafted again", f"{int(flags.sum()):,} of {n:,} differ")
        for name, flags in unlike.items()
        if flags.any()
    ]
    if differing:
        text = (
            f"{differing:,} of {distance.numel():,} pixels differ by more than {TOLERANCE:g}, at most by {largest:.3g}"
        )
        mismatches.insert(0, Mismatch(f"{place.name}: images", "as crafted again", text))
    equal = int((stored == crafted.images).flatten(1).all(1).sum())
    return Replay(n, equal, distance.numel(), differing, largest, n - int(predictions.sum())), mismatches
