"""Craft adversarial images and save them in a run directory, in numbered shards with a manifest."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from robustbench_fgsm.attack.losses import get_loss
from robustbench_fgsm.attack.outputs import read_for_loss
from robustbench_fgsm.data.content import hash_content
from robustbench_fgsm.data.dataset import Dataset, describe_data, first_readable_batch
from robustbench_fgsm.data.match_model import as_classifier_and_data, match_to_classifier
from robustbench_fgsm.engine.choose_plan import check_recorded_plan, choose_plan
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.plan import check_optimize_level
from robustbench_fgsm.engine.preflight import PREFLIGHT_IMAGES, check_single_epsilon, preflight
from robustbench_fgsm.engine.progress import Progress
from robustbench_fgsm.engine.progress_bar import ProgressSetting, as_function, with_progress_bar
from robustbench_fgsm.errors import FileError
from robustbench_fgsm.evaluation.craft_shards import (
    AdversarialShard,
    ShardRecord,
    ShardTotals,
    check_eight_bit,
    craft_shards,
    shard_ranges,
)
from robustbench_fgsm.feature_values import FeatureArray
from robustbench_fgsm.files.atomic_files import atomic_replace
from robustbench_fgsm.files.json_files import MAX_BYTES, parse_json
from robustbench_fgsm.files.regular_files import append_bytes, is_present, read_bytes, translate_os_errors
from robustbench_fgsm.files.validation import validate
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.options import AttackOptions, RunOptions, ShardOptions
from robustbench_fgsm.runs.attack.formats import ShardFormat, get_shard_format
from robustbench_fgsm.runs.attack.result import SavedAttack, attack_settings
from robustbench_fgsm.runs.directory import RunDirectory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.example_images import SelectedImage, save_example_images, selectable_images
from robustbench_fgsm.runs.kept_images import EXAMPLE_IMAGES_FILE
from robustbench_fgsm.runs.manifest import read_recorded_plan
from robustbench_fgsm.runs.manifest_schema import FileFields
from robustbench_fgsm.runs.record_schema import run_identity
from robustbench_fgsm.runs.settings import describe_model
from robustbench_fgsm.spec import DEFAULT_EPSILON_TEXT, UNTARGETED, AttackSpec, is_multi_label

SHARD_ENTRIES_PREFIX = ".shards-"
"""First part of the names of files in which the other processes list their shards."""


@with_progress_bar
@neutral_settings(generators=True)
def save_adversarial(
    classifier: Classifier | nn.Module,
    data: Dataset | Any,
    out: Path | str,
    epsilon: float | str = DEFAULT_EPSILON_TEXT,
    *,
    norm: str | float = AttackOptions.norm,
    epsilon_scale: str | FeatureArray | None = AttackOptions.epsilon_scale,
    targeted: str = UNTARGETED,
    loss: str = AttackOptions.loss,
    stable: bool = AttackOptions.stable,
    restarts: int = AttackOptions.restarts,
    seed: int = AttackOptions.seed,
    format: str = ShardOptions.format,  # noqa: A002  (the name of the option)
    shard_size: int = ShardOptions.shard_size,
    batch_size: int | str = RunOptions.batch_size,
    optimize: str = RunOptions.optimize,
    max_bad: int = RunOptions.max_bad,
    strict: bool = RunOptions.strict,
    progress: ProgressSetting = None,
) -> SavedAttack:
    """Craft adversarial images and save them in a directory, shard by shard; the same call continues a stopped run.

    Args:
        classifier: the model to attack: a classifier, a bare `nn.Module`, or an ART estimator.
        data: the images and their labels: a data set, or anything that `load_data` takes, such as a DataLoader or (x, y).
        out: directory: new, empty, or of a run with equal settings.
        epsilon: budget in pixel space, as a number or as text such as `8/255`.
        norm: order of the norm: `inf`, or any real p >= 1.
        epsilon_scale: what epsilon is multiplied by in each feature: `range` for low to high, or numbers, as in `fgsm`.
        targeted: class at which the attack aims: `none`, `next` (label + 1), `shift:2`, `random`, `least-likely` or `class:NAME`.
        loss: loss that the attack increases: `ce`, `log-probabilities`, `probabilities`, `bce`, `bce-with-logits` or `margin`, as
            in `fgsm`; `logits` is `ce`, and the outputs are logits whatever they look like.
        stable: use exact cross-entropy gradients for all images, also if float32 saturates.
        restarts: number of random starts beside the clean one; the best start of each image counts.
        seed: seed of random targets and random starts, an integer >= 0.
        format: `safetensors` or `npz`, float32 exactly as computed, or `png`, rounded to 8 bits within epsilon.
        shard_size: images in a shard.
        batch_size: images in a batch, or `auto`.
        optimize: `none`, `safe` (faster, same counts) or `max` (may change a few counts).
        max_bad: number of unreadable images above which the result is invalid.
        strict: raise an error if a preflight check warns.
        progress: called with images done and images in all; by default a bar in notebooks and terminals; False for none.

    Returns:
        The saved run, with its counts and files.

    Raises:
        RunError: if the directory holds something else.
        ResourceError: if the directory cannot be written or another process uses it.
        SettingError, ModelError, DataError: if settings, model and data do not fit each other.
    """
    classifier, data = as_classifier_and_data(classifier, data)
    spec = AttackOptions(epsilon, norm, epsilon_scale, targeted, loss, stable, restarts, seed).to_spec(classifier.bounds)
    run_options = RunOptions(batch_size, optimize, max_bad, strict)
    return save_attack(classifier, data, Path(out), spec, ShardOptions(format, shard_size), run_options, as_function(progress))


def save_attack(
    classifier: Classifier,
    data: Dataset,
    out: Path,
    spec: AttackSpec,
    shard_options: ShardOptions,
    run_options: RunOptions,
    progress: Progress | None = None,
    world: World = SINGLE_PROCESS,
) -> SavedAttack:
    """Save adversarial images with parsed settings, in all processes of the world; see `save_adversarial`."""
    began, classifier = time.perf_counter(), read_for_loss(classifier, spec.loss)
    data = match_to_classifier(data, classifier)
    kind, pieces = get_shard_format(shard_options.format), shard_ranges(len(data), shard_options.shard_size)
    check_optimize_level(run_options.optimize)
    output: dict[str, Any] = {"format": shard_options.format, "shard_size": shard_options.shard_size}
    keep_images = shard_options.keep_images
    nothing = initial_saved_attack(classifier, data, spec, output, eight_bit=kind.eight_bit, strict=run_options.strict)
    recorded = read_recorded_plan(out) if world.is_main else None
    plan = world.broadcast(choose_plan(classifier, data, [spec], run_options, recorded, audited=False) if world.is_main else None)
    output = nothing.output | {"batch_size": plan.batch_size}
    nothing = replace(nothing, output=output, max_bad=run_options.max_bad, plan=plan)
    with RunDirectory(
        out,
        nothing.to_dict(),
        world,
        select_settings=attack_settings,
        files=("adversarial-*", EXAMPLE_IMAGES_FILE),
        reuse_result=False,
    ) as directory:
        saved, missing = world.broadcast(_find_saved_shards(directory, nothing, kind, pieces) if world.is_main else None)
        if saved.tally.n and missing:
            check_recorded_plan(classifier, data, [spec], plan)
        spent, mine = saved.seconds, world.local_part(np.array(missing, np.int64)).tolist()
        shards = craft_shards(classifier, data, spec, [pieces[number] for number in mine], plan=plan, eight_bit=kind.eight_bit)
        done = saved.tally.n + len(saved.bad)
        world.add_done_images(done if world.is_main else 0, 0)
        made = []
        for number in mine:
            made.append(save_shard(out, nothing, kind, number, next(shards)))  # no name keeps a shard alive
            if world.is_main:
                saved = replace(saved.add(*made[-1]), seconds=spent + time.perf_counter() - began)
                directory.write_manifest(saved.to_dict())
            else:
                append_shard_entry(out, world.rank, run_identity(directory.settings), made[-1][0])
            done += len(pieces[number])
            so_far = world.add_done_images(len(pieces[number]), done)
            if progress is not None:
                progress(so_far, len(data))
        others = [part for rank, parts in enumerate(world.gather(made)) if rank or not world.is_main for part in parts]
        for part in others:
            saved = saved.add(*part)
        saved = world.broadcast(replace(saved, seconds=spent + time.perf_counter() - began) if others else saved)
        if world.is_main and keep_images and not is_multi_label(data) and (missing or not is_present(out / EXAMPLE_IMAGES_FILE)):
            run = EvaluationRun("evaluate", classifier, data, (spec,), plan)
            save_example_images(run, _saved_images(out, kind, pieces), out / EXAMPLE_IMAGES_FILE, keep_images)
        directory.write_manifest(saved.to_dict())
        directory.write_result(saved.to_dict())
        if world.is_main:
            remove_shard_entries(out)
    return saved


def _find_saved_shards(
    directory: RunDirectory, initial: SavedAttack, shard_format: ShardFormat, ranges: list[range]
) -> tuple[SavedAttack, list[int]]:
    """Return what is saved already, which the manifest then records, and the numbers of the missing shards."""
    assert directory.path is not None  # noqa: S101  (saved images need a directory)
    entries = read_shard_entries(directory.path, run_identity(directory.settings))
    saved, missing = recover_shards(directory.path, initial, directory.recorded_manifest() or {}, entries, shard_format, ranges)
    directory.write_manifest(saved.to_dict())
    remove_shard_entries(directory.path)
    return saved, missing


def _saved_images(out: Path, shard_format: ShardFormat, ranges: list[range]) -> Iterator[SelectedImage]:
    """Yield the images of shards in a fixed random order; none of a shard with unreadable images, whose indices are unknown."""
    for number in np.random.default_rng(0).permutation(len(ranges)).tolist():
        outcomes = ShardRecord.from_columns(shard_format.read_columns(out / shard_format.shard_name(number))).outcomes
        if len(outcomes) == len(ranges[number]):
            columns = outcomes.ids, outcomes.labels, outcomes.before, outcomes.after[:, 0]
            yield from selectable_images(0, ranges[number].start, *columns)


def append_shard_entry(out: Path, rank: int, run: str, entry: dict[str, Any]) -> None:
    """List a shard of another process than the main one, with the identity of the run, until the manifest records it."""
    append_bytes(out / f"{SHARD_ENTRIES_PREFIX}{rank:05d}.jsonl", (json.dumps({"run": run} | entry) + "\n").encode())


def read_shard_entries(out: Path, run: str) -> list[Any]:
    """Return the listed shards of a run, without lines of other runs and lines that cannot be read."""
    found: list[Any] = []
    for place in sorted(out.glob(f"{SHARD_ENTRIES_PREFIX}*.jsonl")):
        for line in read_bytes(place, MAX_BYTES).splitlines():
            with suppress(FileError):  # a line that was cut
                entry = parse_json(line, place)
                validate(FileFields, entry, place, FileError, "remove the file")
                if entry.pop("run", None) == run:
                    found.append(entry)
    return found


def remove_shard_entries(out: Path) -> None:
    """Remove the lists of shards, which the manifest now records."""
    with translate_os_errors(out):
        for place in out.glob(f"{SHARD_ENTRIES_PREFIX}*.jsonl"):
            place.unlink()


def initial_saved_attack(
    classifier: Classifier, data: Dataset, spec: AttackSpec, output: dict[str, Any], *, eight_bit: bool, strict: bool
) -> SavedAttack:
    """Return the run before its first image; raise SettingError, ModelError or DataError if its parts do not fit."""
    check_single_epsilon(spec)
    get_loss(spec.loss, stable=spec.stable)
    warnings = preflight(classifier, data, spec, strict=strict)
    if eight_bit:
        check_eight_bit(data, spec)
    content, repeated = hash_content(data)
    return SavedAttack(
        model=describe_model(classifier, data),
        data=describe_data(data) | content,
        attack=spec.to_dict() | {"epsilon": spec.epsilons[0]},
        output=output | {"shape": list(first_readable_batch(data, PREFLIGHT_IMAGES).images.shape[1:])},
        totals=ShardTotals.empty(
            classifier.num_classes, targeted=spec.target.targeted, eight_bit=eight_bit, multi_label=is_multi_label(data)
        ),
        preflight_warnings=(*warnings, *repeated.warnings),
        environment=describe_environment(classifier.device),
    )


def recover_shards(
    out: Path,
    initial: SavedAttack,
    manifest: dict[str, Any],
    entries: list[dict[str, Any]],
    shard_format: ShardFormat,
    ranges: list[range],
) -> tuple[SavedAttack, list[int]]:
    """Return what is saved already, and the numbers of the shards that are missing or damaged.

    Args:
        out: the run directory.
        initial: the run before its first image.
        manifest: what the directory records.
        entries: shards that are listed beside the manifest.
        shard_format: format of the shards.
        ranges: images of each shard.
    """
    records = {record["name"]: record for record in [*entries, *(manifest.get("files") or [])]}
    saved, missing = replace(initial, seconds=float((manifest.get("seconds") or {}).get("total") or 0)), []
    for number, images in enumerate(ranges):
        record = records.get(shard_format.hashed_file(number))
        counts = None
        if record is not None and not shard_format.find_damage(out, record):
            with suppress(KeyError, ValueError, TypeError, IndexError):  # not a shard, whatever its hash
                shard = ShardRecord.from_columns(shard_format.read_columns(out / shard_format.shard_name(number)))
                if len(shard) == record["n"] == len(images) - len(record.get("bad", ())):
                    counts = count_shard(initial, shard)
        if record is None or counts is None:
            missing.append(number)
        else:
            saved = saved.add(record, counts)
    return saved if missing else replace(saved, environment=manifest["environment"]), missing


def save_shard(
    out: Path, initial: SavedAttack, shard_format: ShardFormat, number: int, shard: AdversarialShard
) -> tuple[dict[str, Any], ShardTotals]:
    """Write one shard atomically, and return its manifest entry and its counts."""
    with atomic_replace(out / shard_format.shard_name(number)) as scratch:
        shard_format.write(scratch, shard)
    record = shard_format.manifest_entry(out, number, len(shard.record))
    bad = {"bad": [asdict(sample) for sample in shard.bad]} if shard.bad else {}
    return record | bad, count_shard(initial, shard.record)


def count_shard(attack: SavedAttack, shard_record: ShardRecord) -> ShardTotals:
    """Return the counts of one shard, which is empty if no sample of it could be read."""
    if not len(shard_record):
        tally, eight_bit = attack.tally, attack.rounded is not None
        classes, multi_label = len(attack.data["classes"]), tally.is_multi_label
        return ShardTotals.empty(classes, targeted=tally.targeted, eight_bit=eight_bit, multi_label=multi_label)
    return ShardTotals.of(shard_record, len(attack.data["classes"]), math.prod(attack.output["shape"]))
