"""The text of `robustness.lock`: JSON in short lines, so that git shows which images changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from robustbench_fgsm.errors import InputError, RunError, SettingError, UnsafeError
from robustbench_fgsm.files.atomic_files import write_bytes
from robustbench_fgsm.files.json_files import parse_json
from robustbench_fgsm.files.regular_files import is_directory, is_file, is_link, is_present, read_bytes
from robustbench_fgsm.printable_text import printable
from robustbench_fgsm.runs.manifest_schema import PreprocessingFields
from robustbench_fgsm.runs.robustness_lock import Flags, Integers, LockedAttack, RobustnessLock, digest_size
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.distance import UNKNOWN

LOCK_NAME = "robustness.lock"
LOCK_SCHEMA = "rfgsm.lock/1"
MAX_LOCK_BYTES = 2**27
"""Largest lock, of more than ten million images."""

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""Digits of base 64."""

BITS = 6
LINE_LENGTH = 120
CONFLICT_MARKERS = (b"<<<<<<< ", b"=======", b">>>>>>> ")
WRITE_AGAIN = "write it again by rfgsm lock RUN, or by pytest --rfgsm-update"
NUMBERS_IN_LINE = 20

Count = Annotated[int, Field(ge=0, lt=2**40)]
Digits = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,120}$")]
Numbers = Annotated[str, Field(pattern=r"^[0-9]{1,12}( [0-9]{1,12}){0,19}$")]


class Record(BaseModel):
    """Object of a lock: no other keys, no other types, no change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ModelRecord(Record):
    """The model that was measured, as documents describe it. A gate names it beside the model that it judges."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    spec: str
    weights: str
    parameters: Count
    sha256: str
    mean: list[float] | None = None
    std: list[float] | None = None


class DataRecord(Record):
    """The images: of each class their number, and hashes of the images whatever their order.

    preprocessing: resizing and cropping; null if there is none. repeats: images that equal the image before them; null in a lock of
    an earlier version.
    """

    spec: str
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    order: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    classes: list[str]
    images: list[Numbers]
    digests: list[Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]]
    preprocessing: PreprocessingFields | None = None
    repeats: list[Numbers] | None = None


class AttackRecord(Record):
    """One attack, and what became of each image.

    correct: right predictions before the attack and at each budget, which the outcomes must agree with. outcomes: one number for
    each image, whose bits are the right predictions, the lowest before the attack. distances: one number for each image, in two
    digits; none if they are not measured. stable_images: images whose outcome or distance differs with exact gradients.
    stable_outcomes, stable_distances: of these images. close: predictions that rounding could change, as
    image * (budgets + 1) + budget.
    """

    settings: dict[str, Any]
    epsilons: Annotated[list[float], Field(min_length=1, max_length=1000)]
    correct: list[Count]
    outcomes: list[Digits]
    distances: list[Digits]
    stable_images: list[Numbers]
    stable_outcomes: list[Digits]
    stable_distances: list[Digits]
    close: list[Numbers]


class LockRecord(Record):
    """The content of a lock without its checksum."""

    schema_: Annotated[Literal["rfgsm.lock/1"], Field(alias="schema")]
    package: str
    torch: str
    model: ModelRecord
    data: DataRecord
    saturated: Count
    attacks: Annotated[list[AttackRecord], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        """Raise ValueError unless the parts fit each other."""
        images, classes = _parse_numbers(self.data.images), len(self.data.classes)
        n = int(images.sum())
        if not (n and 2 <= classes == len(images)):
            raise ValueError(f"{len(images)} numbers of images for {classes} classes")
        if len(self.data.digests) != -(-classes // digest_size(classes)) or self.saturated > n:
            raise ValueError("digests or saturated images that do not fit the classes")
        if len({len(attack.epsilons) for attack in self.attacks}) > 1:
            raise ValueError("attacks with different numbers of budgets")
        for attack in self.attacks:
            if _decode_attack(attack, n).right.sum(1).tolist() != attack.correct:
                raise ValueError("counts of right predictions that differ from the outcomes")
        repeats, starts = _decode_repeats(self.data.repeats, n), (np.cumsum(images) - images)[images > 0]
        if repeats is not None and repeats[starts].any():
            raise ValueError("the first image of a class that repeats another one")
        return self


def encode_lock(lock: RobustnessLock) -> bytes:
    """Return the text of a lock; equal locks have equal texts on every machine."""
    counts = np.bincount(lock.labels, minlength=len(lock.classes))
    document = {
        "schema": LOCK_SCHEMA,
        **lock.versions,
        "model": lock.model,
        "data": {
            "spec": lock.data["spec"],
            "fingerprint": lock.data["fingerprint"],
            "order": lock.order,
            "classes": list(lock.classes),
            "images": _join_numbers(counts),
            "digests": list(lock.digests),
            "preprocessing": lock.preprocessing,
            "repeats": None if lock.repeats is None else _join_numbers(np.flatnonzero(lock.repeats)),
        },
        "saturated": lock.saturated,
        "attacks": list(map(_encode_attack, lock.attacks)),
    }
    return (json.dumps({"checksum": _checksum(document)} | document, indent=1, allow_nan=False) + "\n").encode()


def write_lock(lock: RobustnessLock, file: Path) -> int:
    """Write a lock atomically, and return its size in bytes.

    Raises:
        SettingError: the path is there, and is not a lock.
        ResourceError: the file cannot be written.
    """
    if is_present(file):
        try:
            read_lock(file)
        except (InputError, UnsafeError) as error:
            if not _has_schema(file):
                raise SettingError(f"{file} is there and is not a lock of rfgsm: remove it, or choose another path") from error
    content = encode_lock(lock)
    write_bytes(file, content)
    return len(content)


def read_lock(file: Path | str) -> RobustnessLock:
    """Return the lock in a file.

    Raises:
        RunError, FileError: the file is not there, or is not as `write_lock` wrote it.
        UnsafeError: the file is a symbolic link.
    """
    file = Path(file)
    if not is_present(file):
        raise RunError(f"a lock must be a file, got {file}, which is not there: check the path, or write it with rfgsm lock RUN")
    content = read_bytes(file, MAX_LOCK_BYTES)
    if any(line.startswith(CONFLICT_MARKERS) for line in content.splitlines()):
        raise RunError(
            f"{file} must be one lock, got the conflict of a merge by git: take one side, git checkout --ours {file} or --theirs, "
            f"or {WRITE_AGAIN}"
        )
    document = parse_json(content, file)
    expected, schema = document.pop("checksum", None), document.get("schema")
    if schema != LOCK_SCHEMA:
        raise RunError(
            f"a lock must have schema {LOCK_SCHEMA}, got {str(schema)[:40]!r} in {file}: pass the directory of a run, or a file "
            "of rfgsm lock"
        )
    if expected != _checksum(document):
        _reject(file, "one with another checksum, because it was edited or merged")
    try:
        found = LockRecord.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = printable(".".join(map(str, first["loc"])))[:100]
        _reject(file, f"{first['msg'].removeprefix('Value error, ')[:100]}{place and f' in {place}'}")
    except (KeyError, TypeError, AttributeError, SettingError) as error:
        _reject(file, f"an attack that cannot be read ({type(error).__name__})")
    return _decode_lock(found, str(file))


def is_lock_file(place: Path | str) -> bool:
    """Return True if a path is a lock, by its suffix if it is not there: neither a run directory nor a mistyped one."""
    path = Path(place)
    return is_file(path) or (is_link(path) and not is_directory(path)) or path.suffix == ".lock"


def _decode_lock(found: LockRecord, path: str) -> RobustnessLock:
    images = _parse_numbers(found.data.images)
    n = int(images.sum())
    data, model = found.data, found.model.model_dump(exclude_unset=True)
    preprocessing = None if data.preprocessing is None else data.preprocessing.model_dump()
    return RobustnessLock(
        path,
        model,
        {"spec": data.spec, "n": n, "fingerprint": data.fingerprint, "classes": data.classes, "preprocessing": preprocessing},
        np.repeat(np.arange(len(images)), images),
        tuple(data.digests),
        data.order,
        found.saturated,
        {"package": found.package, "torch": found.torch},
        tuple(_decode_attack(attack, n) for attack in found.attacks),
        _decode_repeats(data.repeats, n),
    )


def _encode_attack(attack: LockedAttack) -> dict[str, Any]:
    differs = (attack.right != attack.right_stable).any(0)
    if attack.distances is not None and attack.distances_stable is not None:
        differs |= attack.distances != attack.distances_stable
    return {
        "settings": attack.spec.to_dict(),
        "epsilons": list(attack.spec.epsilons),
        "correct": attack.right.sum(1).tolist(),
        "outcomes": _encode_bits(attack.right),
        "distances": [] if attack.distances is None else _encode_positions(attack.distances),
        "stable_images": _join_numbers(np.flatnonzero(differs)),
        "stable_outcomes": _encode_bits(attack.right_stable[:, differs]),
        "stable_distances": [] if attack.distances_stable is None else _encode_positions(attack.distances_stable[differs]),
        "close": _join_numbers(np.flatnonzero(attack.close.T)),
    }


def _decode_attack(record: AttackRecord, n: int) -> LockedAttack:
    """Return the attack that `_encode_attack` wrote; raise ValueError, KeyError, TypeError or AttributeError for another one."""
    spec, rows = AttackSpec.from_dict(record.settings, record.epsilons), len(record.epsilons) + 1
    right, differs = _decode_bits(record.outcomes, rows, n), _decode_places(record.stable_images, 1, n)[0]
    right_stable = right.copy()
    right_stable[:, differs] = _decode_bits(record.stable_outcomes, rows, int(differs.sum()))
    distances = distances_stable = None
    if spec.max_epsilon is not None:
        distances = _decode_positions(record.distances, n)
        distances_stable = distances.copy()
        distances_stable[differs] = _decode_positions(record.stable_distances, int(differs.sum()))
    elif record.distances or record.stable_distances:
        raise ValueError("distances of an attack that measures none")
    return LockedAttack(spec, right, right_stable, _decode_places(record.close, rows, n), distances, distances_stable)


def _reject(file: Path, found: str) -> NoReturn:
    raise RunError(f"{file} must be as rfgsm wrote it, got {found}: restore it from git, or {WRITE_AGAIN}")


def _has_schema(file: Path) -> bool:
    """Return True if a damaged file was a lock, which a new lock may replace."""
    try:
        return f'"schema": "{LOCK_SCHEMA}"'.encode() in read_bytes(file, MAX_LOCK_BYTES)[:400]
    except (InputError, UnsafeError):
        return False


def _checksum(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _encode_bits(flags: Flags | Integers) -> list[str]:
    """Return flags (R, N) in base 64, as many digits for each image as R bits need, in lines."""
    rows, digits = len(flags), -(-len(flags) // BITS)
    padded = np.zeros((digits * BITS, flags.shape[1]), np.uint8)
    padded[:rows] = flags
    values = (padded.reshape(digits, BITS, -1) << np.arange(BITS)[:, None]).sum(1)
    text = np.array([ALPHABET.encode()]).view(np.uint8)[values.T].tobytes().decode()
    return [text[at : at + LINE_LENGTH] for at in range(0, len(text), LINE_LENGTH)]


def _decode_bits(lines: Sequence[str], rows: int, n: int) -> Flags:
    """Return flags (R, N) of the lines that `_encode_bits` wrote; raise ValueError for other lines."""
    digits = -(-rows // BITS)
    text = "".join(lines).encode()
    if len(text) != digits * n:
        raise ValueError(f"{len(text)} digits for {n} images")
    table = np.zeros(128, np.uint8)
    table[list(ALPHABET.encode())] = np.arange(len(ALPHABET))
    values = table[np.frombuffer(text, np.uint8)].reshape(n, digits)
    bits = (values[:, :, None] >> np.arange(BITS) & 1).reshape(n, digits * BITS).T.astype(np.bool_)
    if bits[rows:].any():
        raise ValueError("bits of budgets that the attack does not have")
    return np.ascontiguousarray(bits[:rows])


def _encode_positions(positions: Integers) -> list[str]:
    """Return positions (N,) of distances in base 64, two digits each, in lines."""
    return _encode_bits(positions >> np.arange(2 * BITS)[:, None] & 1)


def _decode_positions(lines: Sequence[str], n: int) -> Integers:
    """Return the positions (N,) that `_encode_positions` wrote; raise ValueError for other lines."""
    bits = _decode_bits(lines, 2 * BITS, n)
    positions: Integers = (bits.astype(np.int64) << np.arange(2 * BITS)[:, None]).sum(0)
    if n and int(positions.max()) > UNKNOWN:
        raise ValueError("distances beyond the scale")
    return positions


def _decode_places(lines: Sequence[str], rows: int, n: int) -> Flags:
    """Return flags (R, N) of the places of the true ones, ascending; raise ValueError for other places."""
    places = _parse_numbers(lines)
    flags = np.zeros(n * rows, np.bool_)
    if len(places) and not (places[-1] < len(flags) and bool((np.diff(places) > 0).all())):
        raise ValueError("places of images that the lock does not have")
    flags[places] = True
    return np.ascontiguousarray(flags.reshape(n, rows).T)


def _decode_repeats(lines: Sequence[str] | None, n: int) -> Flags | None:
    return None if lines is None else _decode_places(lines, 1, n)[0]


def _join_numbers(numbers: Integers) -> list[str]:
    parts = range(0, len(numbers), NUMBERS_IN_LINE)
    return [" ".join(map(str, numbers[at : at + NUMBERS_IN_LINE])) for at in parts]


def _parse_numbers(lines: Sequence[str]) -> Integers:
    return np.array([int(number) for line in lines for number in line.split(" ")], np.int64)
