"""Verify the files of saved adversarial images and their manifest, without crafting images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.evaluation.craft_shards import ShardRecord, ShardTotals, shard_ranges
from robustbench_fgsm.files.json_files import read_json
from robustbench_fgsm.files.regular_files import is_present
from robustbench_fgsm.runs.attack.formats import Mismatch, ShardFormat, get_shard_format
from robustbench_fgsm.runs.attack.result import DERIVED_KEYS, SETTING_KEYS, SavedAttack, checksum
from robustbench_fgsm.runs.attack.save import count_shard
from robustbench_fgsm.runs.directory import MANIFEST_FILE, RESULT_FILE, json_differences, read_attack_json
from robustbench_fgsm.runs.kept_images import EXAMPLE_IMAGES_FILE
from robustbench_fgsm.runs.manifest import check_required_keys, plan_from_manifest
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.spec import AttackSpec

REQUIRED_ATTACK_KEYS = {"model": ("spec", "weights", "sha256"), "data": ("spec", "fingerprint")}
"""Keys that are read after the manifest is validated."""


@dataclass(frozen=True)
class AttackManifest:
    """A validated manifest: attack, format and plan of its images, and the indices of the images in each shard."""

    directory: Path
    document: dict[str, Any]
    spec: AttackSpec
    shard_format: ShardFormat
    plan: Plan
    shard_ranges: tuple[range, ...]

    __repr__ = short_repr

    def __len__(self) -> int:
        return sum(map(len, self.shard_ranges))

    @property
    def file_entries(self) -> dict[str, dict[str, Any]]:
        """Return the entries of recorded files by name."""
        return {str(record["name"]): record for record in self.document["files"]}


def read_attack_manifest(out: Path) -> AttackManifest:
    """Return the validated manifest in a directory; raise RunError if it is missing or malformed."""
    document = read_attack_json(out)
    try:
        attack, output = document["attack"], document["output"]
        spec = AttackSpec.from_dict(attack, [attack["epsilon"]])
        pieces = shard_ranges(int(document["data"]["n"]), int(output["shard_size"]))
        kind = get_shard_format(output["format"])
        manifest = AttackManifest(out, document, spec, kind, plan_from_manifest(document), tuple(pieces))
        _rebuild_saved_attack(manifest)
        manifest.file_entries  # noqa: B018  (raises if an entry is malformed)
        check_required_keys(document, REQUIRED_ATTACK_KEYS)
        for key in DERIVED_KEYS:
            document[key]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{out / MANIFEST_FILE} must be as `rfgsm attack` wrote it, got one that cannot be read "
            f"({type(error).__name__}: {error}): craft the images again"
        ) from error
    return manifest


def check_files(manifest: AttackManifest) -> tuple[frozenset[int], list[Mismatch]]:
    """Return the numbers of missing or damaged shards, and their mismatches and those of files that do not belong there."""
    damaged, found = set(), []
    records, complete = manifest.file_entries, manifest.document["status"] != "incomplete"
    for number in range(len(manifest.shard_ranges)):
        name = manifest.shard_format.hashed_file(number)
        if name in records:
            wrong = manifest.shard_format.find_damage(manifest.directory, records[name])
        else:
            wrong = [Mismatch(MANIFEST_FILE, f"a record of {name}", "none")] if complete else []
        if wrong or name not in records:
            damaged.add(number)
        found += wrong
    known = {manifest.shard_format.shard_name(number) for number in range(len(manifest.shard_ranges))} | {
        MANIFEST_FILE,
        RESULT_FILE,
        EXAMPLE_IMAGES_FILE,
    }
    extra = sorted(place.name for place in manifest.directory.iterdir() if place.name not in known and place.name[0] != ".")
    return frozenset(damaged), found + [Mismatch(name, "no such file", "a file") for name in extra]


def check_manifest(manifest: AttackManifest, damaged: frozenset[int]) -> Iterator[Mismatch]:
    """Return the wrong values in a manifest; its counts, which follow from the shards, are checked if no shard is damaged."""
    document = manifest.document
    if document.get("checksum") != checksum(document):
        yield Mismatch(MANIFEST_FILE, f"checksum {document.get('checksum')}", f"checksum {checksum(document)}")
    if document["status"] == "incomplete":
        yield Mismatch(MANIFEST_FILE, "status complete", "status incomplete: the same command continues it")
    elif not is_present(manifest.directory / RESULT_FILE):
        yield Mismatch(RESULT_FILE, "a file", "none")
    elif read_json(manifest.directory / RESULT_FILE) != document:
        yield Mismatch(RESULT_FILE, f"the document of {MANIFEST_FILE}", "another")
    if not damaged:
        try:
            again = _rebuild_saved_attack(manifest, counted=True).to_dict()
        except (KeyError, TypeError, ValueError, IndexError, SafetensorError) as error:
            yield Mismatch("shards", "readable facts of each image", f"{type(error).__name__}: {error}")
            return
        for key, expected, found in json_differences(*({key: part[key] for key in DERIVED_KEYS} for part in (again, document))):
            yield Mismatch(f"{MANIFEST_FILE}: {key}", f"{expected} from the shards", found)


def _rebuild_saved_attack(manifest: AttackManifest, *, counted: bool = False) -> SavedAttack:
    """Return a saved attack with the manifest's settings, and without images, or with the counts of its shards."""
    document, classes = manifest.document, len(manifest.document["data"]["classes"])
    targeted, eight_bit = manifest.spec.target.targeted, manifest.shard_format.eight_bit
    multi_label = document["data"].get("task") == "multilabel"
    saved = SavedAttack(
        **{key: document[key] for key in SETTING_KEYS},
        totals=ShardTotals.empty(classes, targeted=targeted, eight_bit=eight_bit, multi_label=multi_label),
        preflight_warnings=(),
        environment=document["environment"],
        max_bad=document["bad"]["allowed"],
    )
    for number in range(len(manifest.shard_ranges)) if counted else ():
        facts = ShardRecord.from_columns(
            manifest.shard_format.read_columns(manifest.directory / manifest.shard_format.shard_name(number))
        )
        saved = saved.add(manifest.file_entries[manifest.shard_format.hashed_file(number)], count_shard(saved, facts))
    return saved
