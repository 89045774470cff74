"""Adversarial images to disk: numbered shards and a manifest, continued where a stopped run left off."""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from robustbench_fgsm.attack.losses import get_loss
from robustbench_fgsm.data.dataset import Dataset, describe, probe
from robustbench_fgsm.data.match_model import fit_to
from robustbench_fgsm.engine.distributed import ALONE, World
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.plan import check_level, plan_for
from robustbench_fgsm.engine.preflight import PROBE, check_batch_size, check_single, preflight
from robustbench_fgsm.engine.progress import Progress
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.evaluation.craft_shards import Facts, Shard, Totals, check_eight_bit, craft_shards, spans
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.runs.attack.formats import Format, get_format
from robustbench_fgsm.runs.attack.result import SCHEMA, SavedAttack, settings_of
from robustbench_fgsm.runs.directory import (
    MANIFEST,
    RESULT,
    check_same,
    is_new,
    locked,
    manifest_in,
    read_json,
    replacing,
    sweep_up,
    usable,
    write_json,
)
from robustbench_fgsm.runs.manifest import recorded_plan
from robustbench_fgsm.spec import DEFAULT_EPSILON, AttackSpec, TargetRule, parse_epsilon, parse_norm

SHARD_SIZE = 1000
"""Images a shard: 3 MB of Fashion-MNIST, 600 MB of ImageNet."""

NOTES = ".shards-"
"""How files begin in which processes that do not lead note what they have made."""


def save_adversarial(
    classifier: Classifier,
    data: Dataset,
    out: Path | str,
    epsilon: float | str = DEFAULT_EPSILON,
    *,
    norm: str | float = "inf",
    targeted: str = "none",
    loss: str = "ce",
    stable: bool = False,
    restarts: int = 0,
    format: str = "safetensors",  # noqa: A002  (the name of the option)
    shard_size: int = SHARD_SIZE,
    batch_size: int | str = "auto",
    optimize: str = "safe",
    seed: int = 0,
    max_bad: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
) -> SavedAttack:
    """Craft adversarial images and save them in a directory, a shard at a time; the same call continues what was stopped.

    out: a directory, new, empty, or with a run of the same settings. epsilon: one budget in pixel space. format:
    `safetensors` or `npz`, float32 exactly as computed, or `png`, rounded to 8 bits within epsilon. shard_size: images a
    shard. The other arguments are those of `evaluate`.

    Raises RunError where the directory holds something else, ResourceError where it cannot be written or another process
    is in it, and SettingError, ModelError or DataError where the rest does not make sense together.
    """
    order = parse_norm(norm)
    budgets = parse_epsilon(epsilon, order, classifier.bounds)
    rule = TargetRule.parse(targeted)
    spec = AttackSpec(budgets, order, rule, loss, classifier.bounds, seed, restarts, stable)
    return save_spec(
        classifier,
        data,
        Path(out),
        spec,
        format=format,
        shard_size=shard_size,
        batch_size=batch_size,
        optimize=optimize,
        max_bad=max_bad,
        strict=strict,
        progress=progress,
    )


def save_spec(
    classifier: Classifier,
    data: Dataset,
    out: Path,
    spec: AttackSpec,
    *,
    format: str = "safetensors",  # noqa: A002
    shard_size: int = SHARD_SIZE,
    batch_size: int | str = "auto",
    optimize: str = "none",
    max_bad: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
    world: World = ALONE,
) -> SavedAttack:
    """The same for settings that are parsed already. world: the processes that share the shards; all get what is saved."""
    began = time.perf_counter()
    data = fit_to(data, classifier)
    check_batch_size(batch_size)
    kind, pieces = get_format(format), spans(len(data), shard_size)
    check_level(optimize)
    output = {"format": format, "shard_size": shard_size}
    nothing = nothing_saved(classifier, data, spec, output, eight_bit=kind.eight_bit, strict=strict)
    recorded = recorded_plan(out) if world.leads else None
    plan = world.first(plan_for(classifier, data, [spec], optimize, batch_size, recorded) if world.leads else None)
    nothing = replace(nothing, output=nothing.output | {"batch_size": plan.batch_size}, max_bad=max_bad, plan=plan)
    world.check_same(settings_of(nothing.to_dict()) | {"--out": out})
    if world.leads:
        find_run(out, nothing)  # before anything is written into the directory
    with locked(out) if world.leads else nullcontext():
        saved, missing = world.first(_begin(out, nothing, kind, pieces) if world.leads else None)
        spent, mine = saved.seconds, world.share(np.array(missing, np.int64)).tolist()
        shards = craft_shards(
            classifier,
            data,
            spec,
            [pieces[number] for number in mine],
            plan=plan,
            eight_bit=kind.eight_bit,
        )
        done = saved.tally.n + len(saved.bad)
        world.add_done(done if world.leads else 0, 0)
        made = []
        for number in mine:
            made.append(keep_shard(out, nothing, kind, number, next(shards)))  # no name keeps a shard alive
            if world.leads:
                saved = replace(saved.add(*made[-1]), seconds=spent + time.perf_counter() - began)
                write_json(out / MANIFEST, saved.to_dict())
            else:
                note_shard(out, world.rank, made[-1][0])
            done += len(pieces[number])
            so_far = world.add_done(len(pieces[number]), done)
            if progress is not None:
                progress(so_far, len(data))
        others = [part for rank, parts in enumerate(world.gather(made)) if rank or not world.leads for part in parts]
        for part in others:
            saved = saved.add(*part)
        saved = world.first(replace(saved, seconds=spent + time.perf_counter() - began) if others else saved)
        if world.leads:
            finish(out, saved)
            forget_notes(out)
    world.barrier()
    return saved


def _begin(out: Path, nothing: SavedAttack, kind: Format, pieces: list[range]) -> tuple[SavedAttack, list[int]]:
    """What is saved already, which the manifest says afterwards too, and the numbers of the shards that are missing."""
    found = find_run(out, nothing)
    sweep_up(out, "adversarial-*", MANIFEST, RESULT)
    saved, missing = recover(out, nothing, found, kind, pieces)
    if found is None or list(saved.files) != found.get("files"):
        write_json(out / MANIFEST, saved.to_dict())
    forget_notes(out)
    return saved, missing


def note_shard(out: Path, rank: int, record: dict[str, Any]) -> None:
    """Note a shard that a process other than the leading one has made, until the manifest says so."""
    place = out / f"{NOTES}{rank:05d}.jsonl"
    with usable(place), place.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def noted_shards(out: Path) -> list[Any]:
    """What was noted of shards; a line that cannot be read is left out."""
    found: list[Any] = []
    for place in sorted(out.glob(f"{NOTES}*.jsonl")):
        for line in place.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            found.append(record)
    return found


def forget_notes(out: Path) -> None:
    """Remove the notes, of which the manifest knows by now."""
    for place in out.glob(f"{NOTES}*.jsonl"):
        place.unlink()


def nothing_saved(
    classifier: Classifier, data: Dataset, spec: AttackSpec, output: dict[str, Any], *, eight_bit: bool, strict: bool
) -> SavedAttack:
    """The run before its first image; raises SettingError, ModelError or DataError where its parts do not fit."""
    check_single(spec)
    get_loss(spec.loss, stable=spec.stable)
    warnings = preflight(classifier, data, spec, strict=strict)
    if eight_bit:
        check_eight_bit(data, spec)
    return SavedAttack(
        model=classifier.info.to_dict(),
        data=describe(data),
        attack=spec.to_dict() | {"epsilon": spec.epsilons[0]},
        output=output | {"shape": list(probe(data, PROBE).images.shape[1:])},
        totals=Totals.empty(classifier.num_classes, targeted=spec.target.targeted, eight_bit=eight_bit),
        preflight_warnings=tuple(warnings),
        environment=describe_environment(classifier.device),
    )


def find_run(out: Path, nothing: SavedAttack) -> dict[str, Any] | None:
    """The manifest in the directory, or None where it is new; raises RunError where the directory is not this run's."""
    if is_new(out):
        return None
    found = manifest_in(out)
    if found.get("schema") != SCHEMA:
        raise RunError(
            f"--out must hold adversarial images, got {out} with another run in it: choose another directory"
        )
    check_same(out, settings_of(found), settings_of(nothing.to_dict()))
    return found


def recover(
    out: Path, nothing: SavedAttack, found: dict[str, Any] | None, kind: Format, pieces: list[range]
) -> tuple[SavedAttack, list[int]]:
    """What is there already, and the numbers of the shards that are not, or whose hash is not the one recorded."""
    if found is None:
        return nothing, list(range(len(pieces)))
    records = {
        record["name"]: record
        for record in [*noted_shards(out), *(found.get("files") or [])]
        if isinstance(record, dict) and {"name", "sha256", "bytes", "n"} <= record.keys()
    }
    saved, missing = replace(nothing, seconds=float((found.get("seconds") or {}).get("total") or 0)), []
    for number in range(len(pieces)):
        record = records.get(kind.file(number))
        if record is None or kind.damage(out, record):
            missing.append(number)
        else:
            saved = saved.add(record, count(nothing, Facts.from_columns(kind.columns(out / kind.place(number)))))
    return saved if missing else replace(saved, environment=found["environment"]), missing


def keep_shard(
    out: Path, nothing: SavedAttack, kind: Format, number: int, shard: Shard
) -> tuple[dict[str, Any], Totals]:
    """Write one shard whole or not at all; its record and its counts."""
    with replacing(out / kind.place(number)) as scratch:
        kind.write(scratch, shard)
    record = kind.record(out, number, len(shard.facts))
    bad = {"bad": [asdict(sample) for sample in shard.bad]} if shard.bad else {}
    return record | bad, count(nothing, shard.facts)


def count(attack: SavedAttack, facts: Facts) -> Totals:
    """Counts of one shard."""
    return Totals.of(facts, len(attack.data["classes"]), math.prod(attack.output["shape"]))


def finish(out: Path, saved: SavedAttack) -> None:
    """Leave manifest and result as they must be; what is so already is not written again."""
    document = saved.to_dict()
    for name in (MANIFEST, RESULT):
        if not (out / name).is_file() or read_json(out / name) != json.loads(json.dumps(document)):
            write_json(out / name, document)
