"""The run directory: one protocol for all commands that write one."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.files.atomic_files import json_bytes, remove_temporary_files, sync_directory, write_bytes
from robustbench_fgsm.files.directory_lock import LOCK_FILE, lock_directory
from robustbench_fgsm.files.json_files import read_json
from robustbench_fgsm.files.regular_files import check_run_files, is_directory, is_present, read_bytes, translate_os_errors
from robustbench_fgsm.files.validation import validate
from robustbench_fgsm.runs.manifest_schema import ManifestFields
from robustbench_fgsm.runs.result_schema import read_result
from robustbench_fgsm.spec import epsilon_text

MANIFEST_FILE = "manifest.json"
RESULT_FILE = "result.json"
ATTACK_SCHEMA = "rfgsm.attack/1"
TRAINING_LOG_FILE = "log.jsonl"
OWN_FILES = (LOCK_FILE, MANIFEST_FILE, RESULT_FILE, "ledger-*.bin", ".shards-*.jsonl")
"""Patterns of files that no run shares with anything else."""

WAIT_FOR_WRITER = 10.0
"""Seconds to wait for another process that changes a finished run."""

MISSING = object()
"""Value of a key that one of two JSON objects lacks."""

NAMED_DIFFERENCES = 3
"""Different settings that an error names."""

ALWAYS_RECORDED = ("torch", "architecture_sha256")
"""Settings of every run that older versions did not record. What such a run measured is never continued, because it may differ."""

NOTHING = "nothing"
"""Text of a setting that one of two runs lacks."""

CONSEQUENCES = ("sha256", "fingerprint", "parameters", "content", "sample", "hash", "piece_size")
"""Ends of the keys of settings that follow from others; an error names them last."""

USUAL_CHOICES = ("spec", "weights", "split", "rule", "n", "epsilons", "epsilon", "norm", "targeted", "loss", "seed")
"""Last parts of the keys of settings that a user chooses most often; an error names them first."""

Manifest = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

OUTPUTS_ON_NOISE = "outputs_on_noise"
"""Setting of a model that is compared up to rounding, which depends on the number of threads."""

OUTPUT_TOLERANCE = 1e-3
"""Largest difference of two such outputs that counts as rounding, as a share of the largest output."""

NON_SETTING_KEYS = ("schema", "asked", "environment", "name")
"""Keys of a manifest that may change when a run is continued."""


def settings_in_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a manifest records, without PyTorch's build and the number of a device, which may change."""
    settings = {key: value for key, value in manifest.items() if key not in NON_SETTING_KEYS}
    separators = {"torch": "+", "device": ":"}
    return settings | {key: str(settings[key]).partition(mark)[0] for key, mark in separators.items() if key in settings}


def settings_in_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that manifests of version 0.1 lack, from the result beside the manifest."""
    environment, bad = result.get("environment"), result.get("bad")
    torch = {"torch": str(environment.get("torch")).partition("+")[0]} if isinstance(environment, dict) else {}
    return torch | ({"max_bad": bad.get("allowed")} if isinstance(bad, dict) else {})


def same_outputs(one: Sequence[float], other: object) -> bool:
    """Return True if the other value is a list of outputs too, all are finite, and they differ by rounding alone."""
    if not (isinstance(other, list) and all(isinstance(output, int | float) for output in other)):
        return False
    scale = max(map(abs, one), default=0.0)
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(abs(first - second) <= OUTPUT_TOLERANCE * scale < math.inf for first, second in pairs)


def replace_outputs(settings: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in which outputs of models that differ from the recorded ones by rounding are the recorded ones.

    Outputs that are not recorded are left out.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(settings))
    for ours, theirs in zip(_models_of(changed), _models_of(recorded), strict=False):
        if OUTPUTS_ON_NOISE in ours and OUTPUTS_ON_NOISE not in theirs:  # an older version
            del ours[OUTPUTS_ON_NOISE]
        elif OUTPUTS_ON_NOISE in ours and same_outputs(ours[OUTPUTS_ON_NOISE], theirs[OUTPUTS_ON_NOISE]):
            ours[OUTPUTS_ON_NOISE] = theirs[OUTPUTS_ON_NOISE]
    return changed


def _models_of(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    return settings.get("models") or [settings.get("model") or {}]


class RunDirectory:
    """The directory of one run, with the manifest, the parts that are measured already and, written last, the result.

    Entering makes a new or empty directory, and continues a directory whose manifest has equal settings. A finished run gives its
    `result` and is not locked. Leaving waits for all processes. Without a path there is no directory, and nothing is written.

    Args:
        path: the directory, or None.
        manifest: what a new directory records: the settings, and keys that may change; or a function that returns it. One process
            without a directory does not call the function, which may run the model.
        world: processes that share the run. Only the main process writes these files.
        select_settings: returns the settings in a manifest.
        files: patterns of other files of the run, whose temporary files are removed.
        reuse_result: False if the caller also goes through a finished run, or a function that decides this for a finished run.

    Raises:
        RunError: the directory holds a run with other settings, or anything else.
        ResourceError: the directory cannot be written, or another process works in it.
    """

    def __init__(
        self,
        path: Path | None,
        manifest: Manifest,
        world: World = SINGLE_PROCESS,
        *,
        select_settings: Callable[[Mapping[str, Any]], dict[str, Any]] = settings_in_manifest,
        files: Sequence[str] = (),
        reuse_result: bool | Callable[[RunDirectory], bool] = True,
    ) -> None:
        self.path, self.world = path, world
        self.result: dict[str, Any] | None = None
        self._select_settings = select_settings
        self._set_manifest(manifest)
        self._files, self._reuse_result = files, reuse_result
        self._on_disk: dict[str, bytes | None] = {}
        """Content of manifest and result, as far as it is known; None if there is no such file."""
        self._lock, self._is_locked = ExitStack(), False

    def _set_manifest(self, manifest: Manifest) -> None:
        is_unused = self.path is None and self.world.size == 1 and callable(manifest)
        found = {} if is_unused else manifest() if callable(manifest) else manifest
        self._manifest: dict[str, Any] = json.loads(json.dumps(found))
        self.settings = {} if is_unused else self._select_settings(self._manifest)

    def __enter__(self) -> Self:
        self.settings = replace_outputs(self.settings, self.world.broadcast(self.settings))
        self.world.check_same(self.settings | {"--out": self.path})
        if self.path is None:
            return self
        if self.world.is_main:
            with translate_os_errors(self.path):
                check_run_files(self.path, (*OWN_FILES, *self._files))
        self.result = self.world.broadcast(self._finished_result() if self.world.is_main else None)
        if self.world.is_main:
            remove_temporary_files(self.path, MANIFEST_FILE, RESULT_FILE, *self._files)
        if self.result is None:
            with ExitStack() as lock:
                if self.world.is_main:
                    lock.enter_context(self._hold_lock(self.path))
                    self._begin()
                self.result = self.world.broadcast(self._finished_result() if self.world.is_main else None)
                if self.recorded_manifest() is None:
                    raise RunError(
                        f"all processes must see the same --out, got {self.path} without {MANIFEST_FILE}: choose a shared directory"
                    )
                self._lock = lock.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._lock.close()
        if kind is None and self.path is not None:
            self.world.barrier()

    def recorded_manifest(self) -> dict[str, Any] | None:
        """Return the manifest on disk, or None in a new directory; raise RunError if its settings differ from ours."""
        found = None if self.path is None else check_run_command(self.path, self.settings["command"])
        if found is None or self.path is None:
            return None
        recorded = self._select_settings(found)
        if self.settings.keys() - recorded.keys() and is_present(self.path / RESULT_FILE):  # an older version wrote it
            recorded = settings_in_result(read_json(self.path / RESULT_FILE)) | recorded
        self.settings = replace_outputs(self.settings, recorded)
        if recorded != self.settings:
            found_changes = sorted(json_differences(recorded, self.settings), key=lambda one: _setting_rank(one[0]))
            for key, there, _ in found_changes:
                if there == NOTHING and key.rpartition(".")[2] in ALWAYS_RECORDED:
                    raise RunError(
                        f"--out must hold a run that records {key}, got {self.path} of an older version: "
                        "run the command again with another directory"
                    )
            changes = "; ".join(f"{key} {there} there, {now} now" for key, there, now in found_changes[:NAMED_DIFFERENCES])
            if len(found_changes) > NAMED_DIFFERENCES:
                changes += f"; and {len(found_changes) - NAMED_DIFFERENCES} more"
            raise RunError(
                f"--out must hold a run with the same settings, got {self.path} with {changes}: choose another directory"
            )
        return found

    def restart(self, manifest: Manifest, pattern: re.Pattern[str]) -> None:
        """Remove the parts that are measured already, whose names match the pattern, and then record other settings.

        Every process calls this; the main process changes the files.
        """
        self._set_manifest(manifest)
        self.world.barrier()
        if self.path is not None and self.world.is_main:
            with translate_os_errors(self.path):
                for place in self.path.iterdir():
                    if pattern.fullmatch(place.name):
                        place.unlink()
                sync_directory(self.path)
        self.write_manifest(self._manifest)
        self.world.barrier()

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, in the main process, if it changed."""
        self._write(MANIFEST_FILE, manifest)

    def write_result(self, document: dict[str, Any]) -> dict[str, Any]:
        """Write the result, in the main process, if it changed, and return it; the manifest records what is asked of it."""
        self._write(RESULT_FILE, document)
        if self.world.is_main:
            self._record_asked()
        return document

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        if self.path is None or not self.world.is_main:
            return
        file, content = self.path / name, json_bytes(document)
        if name not in self._on_disk:
            self._on_disk[name] = read_bytes(file) if is_present(file) else None
        if self._on_disk[name] != content:
            with nullcontext() if self._is_locked else lock_directory(self.path, WAIT_FOR_WRITER):
                write_bytes(file, content)
            self._on_disk[name] = content

    def _finished_result(self) -> dict[str, Any] | None:
        if self.path is None or self.recorded_manifest() is None or not is_present(self.path / RESULT_FILE):
            return None
        reuse = self._reuse_result(self) if callable(self._reuse_result) else self._reuse_result
        return read_result(self.path / RESULT_FILE) if reuse else None

    @contextmanager
    def _hold_lock(self, path: Path) -> Iterator[None]:
        with lock_directory(path):
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False

    def _begin(self) -> None:
        if self.recorded_manifest() is None:
            self.write_manifest(self._manifest)
        self._record_asked()

    def _record_asked(self) -> None:
        """Record what this command asks of the result, so that `rfgsm runs resume` asks it again."""
        found = self.recorded_manifest()
        if found is not None and found.get("asked") != self._manifest.get("asked"):
            self.write_manifest(found | {"asked": self._manifest["asked"]})


def name_run(directory: Path, name: str) -> None:
    """Record the name of a run in its manifest."""
    with lock_directory(directory, WAIT_FOR_WRITER):
        manifest = read_manifest_json(directory)
        if manifest.get("name") != name:
            write_bytes(directory / MANIFEST_FILE, json_bytes(manifest | {"name": name}))


def check_run_command(directory: Path, command: str) -> dict[str, Any] | None:
    """Return the manifest of a run of a command, None for a new directory; raise RunError for a run of another command."""
    if is_new_run(directory):
        return None
    found = read_manifest_json(directory)
    if (other := manifest_command(found)) != command:
        raise RunError(f"--out must hold a run of `rfgsm {command}`, got {directory} of {other}: choose another directory")
    return found


def manifest_command(manifest: Mapping[str, Any]) -> str:
    """Return the command that wrote a manifest, or `something else`."""
    if "command" in manifest:
        return str(manifest["command"])
    return "attack" if str(manifest.get("schema", "")).startswith("rfgsm.attack/") else "something else"


def is_new_run(directory: Path) -> bool:
    """Return True if a directory is missing, or holds nothing but hidden files, such as a lock.

    Raises:
        RunError: the path is a file, or the directory holds files but no manifest.
        ResourceError: the directory cannot be read.
    """
    with translate_os_errors(directory):
        if is_present(directory) and not is_directory(directory):
            raise RunError(f"--out must be a directory, got {directory}, which is a file: choose another")
        if not is_present(directory) or all(place.name.startswith(".") for place in directory.iterdir()):
            return True
    if not is_present(directory / MANIFEST_FILE):
        raise RunError(f"--out must be new, empty or a run, got {directory} with other files in it: choose another directory")
    return False


def json_differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the dotted keys at which two JSON objects differ, sorted, with both values shortened."""
    ours, theirs = dict(_flatten(left)), dict(_flatten(right))
    keys = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key, MISSING) != theirs.get(key, MISSING))
    return [(key, _setting_text(key, ours.get(key, MISSING)), _setting_text(key, theirs.get(key, MISSING))) for key in keys]


def _setting_rank(key: str) -> tuple[bool, int]:
    """Return a number by which the settings come first that a user chooses, and those last that follow from others."""
    last = key.rpartition(".")[2]
    return key.endswith(CONSEQUENCES), USUAL_CHOICES.index(last) if last in USUAL_CHOICES else len(USUAL_CHOICES)


def read_manifest_json(directory: Path) -> dict[str, Any]:
    """Return the manifest in a directory; raise RunError if it is missing, or a value has another type than manifests have."""
    document = read_json(directory / MANIFEST_FILE)
    validate(ManifestFields, document, directory / MANIFEST_FILE, RunError, "choose another directory")
    return document


def read_attack_json(directory: Path) -> dict[str, Any]:
    """Return the manifest in a directory of `rfgsm attack`; raise RunError if there is none, or that of another command."""
    file = directory / MANIFEST_FILE
    if not is_present(file):
        raise RunError(
            f"check needs a directory that `rfgsm attack` wrote, got {directory} without {MANIFEST_FILE}: check the path"
        )
    document = read_manifest_json(directory)
    if document.get("schema") != ATTACK_SCHEMA:
        raise RunError(f"{file} must have schema {ATTACK_SCHEMA}, got {document.get('schema')!r}: check the path")
    return document


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
            yield from _flatten({str(place): part for place, part in enumerate(value)}, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _setting_text(key: str, value: object) -> str:
    """Return a value as JSON, shortened; budgets such as 8/255 as users write them."""
    budgets = value if isinstance(value, list) else [value]
    if key.endswith(("epsilon", "epsilons")) and all(isinstance(budget, float) for budget in budgets):
        text = ",".join(map(epsilon_text, budgets))
    else:
        text = NOTHING if value is MISSING else json.dumps(value)
    return text if len(text) <= 40 else text[:39] + "…"
