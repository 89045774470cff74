"""Whether saved adversarial images and their manifest are whole and fit each other, without crafting anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.evaluation.craft_shards import Facts, Totals, spans
from robustbench_fgsm.runs.attack.formats import Format, Mismatch, get_format
from robustbench_fgsm.runs.attack.result import DERIVED, SCHEMA, SETTINGS, SavedAttack, checksum, plan_of
from robustbench_fgsm.runs.attack.save import count
from robustbench_fgsm.runs.directory import MANIFEST, RESULT, differences, manifest_in, read_json
from robustbench_fgsm.spec import AttackSpec

NEEDED = {"": DERIVED, "model": ("spec", "weights", "sha256"), "data": ("spec", "fingerprint")}
"""Keys that are read later on."""


@dataclass(frozen=True)
class Recipe:
    """A manifest and what it says about how its images were crafted; pieces: the images of each shard, by index."""

    out: Path
    document: dict[str, Any]
    spec: AttackSpec
    kind: Format
    plan: Plan
    pieces: tuple[range, ...]

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """Recorded files by name."""
        return {str(record["name"]): record for record in self.document["files"]}


def read_recipe(out: Path) -> Recipe:
    """The manifest in the directory, understood; raises RunError where there is none or it cannot be."""
    if not (out / MANIFEST).is_file():
        raise RunError(
            f"check needs a directory that `rfgsm attack` wrote, got {out} without {MANIFEST}: check the path"
        )
    document = manifest_in(out)
    if document.get("schema") != SCHEMA:
        raise RunError(f"{out / MANIFEST} must have schema {SCHEMA}, got {document.get('schema')!r}: check the path")
    try:
        attack, output = document["attack"], document["output"]
        spec = AttackSpec.from_dict(attack, [attack["epsilon"]])
        pieces = spans(int(document["data"]["n"]), int(output["shard_size"]))
        kind = get_format(output["format"])
        recipe = Recipe(out, document, spec, kind, plan_of(document), tuple(pieces))
        _rebuilt(recipe)
        recipe.records  # noqa: B018  (raises where it cannot be made)
        for part, keys in NEEDED.items():
            for key in keys:
                if (document[part] if part else document)[key] is None and part:
                    raise ValueError(f"no {part}.{key}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{out / MANIFEST} must be as `rfgsm attack` wrote it, got one that cannot be read "
            f"({type(error).__name__}: {error}): craft the images again"
        ) from error
    return recipe


def check_files(recipe: Recipe) -> tuple[frozenset[int], list[Mismatch]]:
    """Numbers of the shards that are missing or damaged; and what is wrong with each, and files that do not belong there."""
    damaged, found = set(), []
    records, complete = recipe.records, recipe.document["status"] != "incomplete"
    for number in range(len(recipe.pieces)):
        name = recipe.kind.file(number)
        if name in records:
            wrong = recipe.kind.damage(recipe.out, records[name])
        else:
            wrong = [Mismatch(MANIFEST, f"a record of {name}", "none")] if complete else []
        if wrong or name not in records:
            damaged.add(number)
        found += wrong
    known = {recipe.kind.place(number) for number in range(len(recipe.pieces))} | {MANIFEST, RESULT}
    extra = sorted(place.name for place in recipe.out.iterdir() if place.name not in known and place.name[0] != ".")
    return frozenset(damaged), found + [Mismatch(name, "no such file", "a file") for name in extra]


def check_manifest(recipe: Recipe, damaged: frozenset[int]) -> Iterator[Mismatch]:
    """What the manifest says wrongly; its counts only where every shard is whole, for they follow from these."""
    document = recipe.document
    if document.get("checksum") != checksum(document):
        yield Mismatch(MANIFEST, f"checksum {document.get('checksum')}", f"checksum {checksum(document)}")
    if document["status"] == "incomplete":
        yield Mismatch(MANIFEST, "status complete", "status incomplete: the same command continues it")
    elif not (recipe.out / RESULT).is_file():
        yield Mismatch(RESULT, "a file", "none")
    elif read_json(recipe.out / RESULT) != document:
        yield Mismatch(RESULT, f"the document of {MANIFEST}", "another")
    if not damaged:
        try:
            again = _rebuilt(recipe, counted=True).to_dict()
        except (KeyError, TypeError, ValueError, IndexError, SafetensorError) as error:
            yield Mismatch("shards", "readable facts of each image", f"{type(error).__name__}: {error}")
            return
        for key, expected, found in differences(*({key: part[key] for key in DERIVED} for part in (again, document))):
            yield Mismatch(f"{MANIFEST}: {key}", f"{expected} from the shards", found)


def _rebuilt(recipe: Recipe, *, counted: bool = False) -> SavedAttack:
    """The manifest's settings with no images yet, or with the counts that follow from its shards."""
    document, classes = recipe.document, len(recipe.document["data"]["classes"])
    targeted, eight_bit = recipe.spec.target.targeted, recipe.kind.eight_bit
    saved = SavedAttack(
        **{key: document[key] for key in SETTINGS},
        totals=Totals.empty(classes, targeted=targeted, eight_bit=eight_bit),
        preflight_warnings=(),
        environment=document["environment"],
        max_bad=document["bad"]["allowed"],
    )
    for number in range(len(recipe.pieces)) if counted else ():
        facts = Facts.from_columns(recipe.kind.columns(recipe.out / recipe.kind.place(number)))
        saved = saved.add(recipe.records[recipe.kind.file(number)], count(saved, facts))
    return saved
