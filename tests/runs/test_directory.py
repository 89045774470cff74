"""A run directory is taken, continued or refused, and what stands in it is whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robustbench_fgsm.engine.distributed import World
from robustbench_fgsm.errors import FileError, ResourceError, RunError
from robustbench_fgsm.files.directory_lock import LOCK_FILE, lock_directory
from robustbench_fgsm.runs.directory import MANIFEST_FILE, RESULT_FILE, RunDirectory

SETTINGS = {"command": "compare", "attack": {"norm": "inf", "epsilons": (0.1,)}, "batch_size": 128}
DOCUMENT = {"n": 7, "verdict": "agree"}


def cached_result(directory: Path, settings: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of the run in the directory, measured if it is not there."""
    with RunDirectory(directory, settings) as run:
        return run.write_result(run.result or measure())


def open_run(directory: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    with RunDirectory(directory, settings) as run:
        return run.result


def test_rejects_a_second_process_unless_finished(tmp_path: Path) -> None:
    def measure() -> dict[str, Any]:
        with pytest.raises(ResourceError, match="must be used by one process at a time, got a second one"):
            cached_result(tmp_path / "run", SETTINGS, never)
        return DOCUMENT

    assert cached_result(tmp_path / "run", SETTINGS, measure) == DOCUMENT
    with lock_directory(tmp_path / "run"):
        assert cached_result(tmp_path / "run", SETTINGS, never) == DOCUMENT


def never() -> dict[str, Any]:
    raise AssertionError("measured again")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with SETTINGS."""
    cached_result(tmp_path / "run", SETTINGS, lambda: DOCUMENT)
    return tmp_path / "run"


def whole(directory: Path) -> dict[str, str]:
    """All files of a directory, hidden ones too."""
    return {file.name: file.read_text(encoding="utf-8") for file in directory.iterdir()}


@pytest.mark.parametrize("place", ["new", "deep/er/new", "empty"])
def test_takes_a_new_or_empty_directory(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    directory = tmp_path / place
    assert open_run(directory, SETTINGS) is None
    assert json.loads((directory / MANIFEST_FILE).read_text()) == json.loads(json.dumps(SETTINGS))


def test_returns_and_keeps_a_measurement(tmp_path: Path) -> None:
    assert cached_result(tmp_path, SETTINGS, lambda: DOCUMENT) == DOCUMENT
    assert json.loads((tmp_path / RESULT_FILE).read_text()) == DOCUMENT
    assert sorted(whole(tmp_path)) == [LOCK_FILE, MANIFEST_FILE, RESULT_FILE]


def test_equal_settings_return_the_stored_result(run: Path) -> None:
    before = whole(run)
    assert cached_result(run, SETTINGS, never) == DOCUMENT
    assert whole(run) == before


def test_measures_a_run_without_a_result(run: Path) -> None:
    (run / RESULT_FILE).unlink()
    assert open_run(run, SETTINGS) is None
    assert cached_result(run, SETTINGS, lambda: {"n": 8}) == {"n": 8}


def test_an_error_leaves_no_result(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="measured again"):
        cached_result(tmp_path, SETTINGS, never)
    assert set(whole(tmp_path)) == {LOCK_FILE, MANIFEST_FILE}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch_size": 64}, "batch_size 128 there, 64 now"),
        ({"attack": {"norm": "inf", "epsilons": (0.2,)}}, r"attack\.epsilons 0\.1 there, 51/255 now"),
        ({"attack": {"norm": "2", "epsilons": (0.1,)}}, r'attack\.norm "inf" there, "2" now'),
        ({"seed": 1}, "seed nothing there, 1 now"),
    ],
)
def test_rejects_other_settings(run: Path, change: dict[str, object], named: str) -> None:
    before = whole(run)
    with pytest.raises(RunError, match=f"the same settings, got .* with {named}: choose another directory"):
        cached_result(run, SETTINGS | change, never)
    assert whole(run) == before


@pytest.mark.parametrize(("factor", "same"), [(1 + 1e-6, True), (1.01, False)])
def test_outputs_may_differ_by_rounding(tmp_path: Path, factor: float, same: bool) -> None:
    settings = [SETTINGS | {"model": {"outputs_on_noise": [1.0 * one, -2.0 * one]}} for one in (1.0, factor)]
    cached_result(tmp_path / "run", settings[0], lambda: DOCUMENT)
    if same:
        assert cached_result(tmp_path / "run", settings[1], never) == DOCUMENT
    else:
        with pytest.raises(RunError, match=r"model\.outputs_on_noise"):
            cached_result(tmp_path / "run", settings[1], never)


def test_outputs_that_are_not_recorded_are_not_compared(tmp_path: Path) -> None:
    cached_result(tmp_path / "run", SETTINGS | {"model": {}}, lambda: DOCUMENT)
    assert cached_result(tmp_path / "run", SETTINGS | {"model": {"outputs_on_noise": [1.0]}}, never) == DOCUMENT


def test_all_differences_are_named(run: Path) -> None:
    with pytest.raises(RunError, match=r"seed nothing there, 2 now; batch_size 128 there, 1 now"):
        open_run(run, SETTINGS | {"batch_size": 1, "seed": 2})


def test_names_first_what_users_choose(tmp_path: Path) -> None:
    attack, model = {"epsilons": [8 / 255], "loss": "ce"}, {"mean": [0.1], "sha256": "a", "spec": "mlp300", "std": [1.0]}
    cached_result(tmp_path, SETTINGS | {"attack": attack, "data": {"n": 2}, "model": model}, lambda: DOCUMENT)
    changed = {"mean": [0.2], "sha256": "b", "spec": "mlp600", "std": [2.0]}
    chosen = 'model.spec "mlp300" there, "mlp600" now; data.n 2 there, 3 now'
    expected = f"{chosen}; attack.epsilons 8/255 there, 1/255,0.3 now; and 3 more"
    with pytest.raises(RunError, match=re.escape(expected)):
        open_run(tmp_path, SETTINGS | {"attack": {"epsilons": [1 / 255, 0.3], "loss": "ce"}, "data": {"n": 3}, "model": changed})


def test_a_long_value_is_shortened(run: Path) -> None:
    with pytest.raises(RunError, match=r'seed nothing there, "x{38}… now'):
        open_run(run, SETTINGS | {"seed": "x" * 500})


def test_rejects_the_run_of_another_command(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"must hold a run of `rfgsm sweep`, got {run} of compare: choose another directory"):
        open_run(run, SETTINGS | {"command": "sweep"})
    open_run(tmp_path / "another", SETTINGS | {"command": "sweep"})


@pytest.mark.parametrize(
    ("key", "now"), [("torch", {"torch": "2.4.0"}), ("model.architecture_sha256", {"model": {"architecture_sha256": "a"}})]
)
def test_rejects_an_unfinished_run_of_an_older_version(run: Path, tmp_path: Path, key: str, now: dict[str, Any]) -> None:
    (run / RESULT_FILE).unlink()
    with pytest.raises(RunError, match=rf"records {key}, got {run} of an older version: run the command again with another"):
        open_run(run, SETTINGS | now)
    open_run(tmp_path / "another", SETTINGS | now)


def test_reads_a_manifest_that_it_wrote_no_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunDirectory(tmp_path, SETTINGS) as run:
        run.write_manifest(SETTINGS | {"shards": 1})
        monkeypatch.delattr(Path, "read_bytes")
        for shards in (2, 2, 3):
            run.write_manifest(SETTINGS | {"shards": shards})
    assert json.loads((tmp_path / MANIFEST_FILE).read_text())["shards"] == 3


def test_rejects_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"must be new, empty or a run, got .* with other files in it"):
        open_run(tmp_path, SETTINGS)
    assert whole(tmp_path) == {"thesis.txt": "mine"}


def test_rejects_a_file_as_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(RunError, match=r"must be a directory, got .*, which is a file"):
        open_run(file, SETTINGS)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", [MANIFEST_FILE, RESULT_FILE])
@pytest.mark.parametrize(
    ("content", "found"), [(b"{", "must be JSON, got"), (b"[1]", "a JSON object, got list"), (b"\xff", "must be JSON")]
)
def test_names_a_damaged_file(run: Path, name: str, content: bytes, found: str) -> None:
    (run / name).write_bytes(content)
    with pytest.raises(FileError, match=f"{name} must .*{found.removeprefix('must ')}"):
        cached_result(run, SETTINGS, never)


def test_rejects_an_impossible_name(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="must be writable, got File name too long"):
        open_run(tmp_path / ("x" * 300), SETTINGS)


def test_a_directory_inside_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ResourceError, match="must be writable, got Not a directory"):
        open_run(tmp_path / "file" / "run", SETTINGS)


def test_finishes_a_run_after_a_full_disk(small_disk: Path) -> None:
    with pytest.raises(ResourceError):
        cached_result(small_disk / "run", SETTINGS, lambda: {"text": "x" * 200_000})
    assert set(whole(small_disk / "run")) == {MANIFEST_FILE, LOCK_FILE}
    assert cached_result(small_disk / "run", SETTINGS, lambda: DOCUMENT) == DOCUMENT


def test_no_path_keeps_no_files() -> None:
    with RunDirectory(None, SETTINGS) as run:
        assert (run.path, run.result, run.write_result(DOCUMENT)) == (None, None, DOCUMENT)


def test_settings_are_made_only_if_they_are_needed(tmp_path: Path) -> None:
    """Making them runs the model."""
    made: list[bool] = []

    def settings() -> dict[str, Any]:
        made.append(True)
        return SETTINGS

    with RunDirectory(None, settings) as run:
        assert (run.settings, made) == ({}, [])
    assert RunDirectory(None, settings, World(size=2)).settings["batch_size"] == 128
    with RunDirectory(tmp_path / "run", settings) as run:
        assert run.settings["batch_size"] == 128
    assert len(made) == 2


def test_removes_temporary_files_of_killed_writers(run: Path) -> None:
    (run / RESULT_FILE).unlink()
    for name in (MANIFEST_FILE, RESULT_FILE, "images-3.npz"):
        (run / f".{name}.abcd1234").mkdir()
    (run / ".other.abcd1234").mkdir()
    with RunDirectory(run, SETTINGS, files=("images-*",)):
        assert sorted(place.name for place in run.iterdir()) == [LOCK_FILE, ".other.abcd1234", MANIFEST_FILE]


def test_other_keys_may_change(tmp_path: Path) -> None:
    first = SETTINGS | {"schema": "rfgsm.run/1", "asked": {"max_asr": 0.5}, "environment": {"threads": 1}}
    cached_result(tmp_path, first, lambda: DOCUMENT)
    assert cached_result(tmp_path, first | {"asked": {"max_asr": 0.9}, "environment": {"threads": 2}}, never) == DOCUMENT
    recorded = json.loads((tmp_path / MANIFEST_FILE).read_text())
    assert (recorded["asked"], recorded["environment"]) == ({"max_asr": 0.9}, {"threads": 1})


def test_locks_a_finished_run_without_reuse(run: Path) -> None:
    with RunDirectory(run, SETTINGS, reuse_result=False) as directory:
        assert directory.result is None
        with pytest.raises(ResourceError, match="one process at a time"), lock_directory(run):
            never()


def test_only_the_main_process_writes(run: Path) -> None:
    before = whole(run)
    with RunDirectory(run, SETTINGS, World(rank=1)) as directory:
        directory.write_result({"n": 8})
        directory.write_manifest({"n": 8})
    assert whole(run) == before


def test_other_processes_must_see_the_directory(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must see the same --out"), RunDirectory(tmp_path, SETTINGS, World(rank=1)):
        never()


def test_completes_an_older_manifest(tmp_path: Path) -> None:
    result = DOCUMENT | {"environment": {"torch": "2.4.0+cpu"}, "bad": {"allowed": 1}}
    cached_result(tmp_path, SETTINGS | {"device": "cuda:0"}, lambda: result)
    now = SETTINGS | {"device": "cuda", "torch": "2.4.0+cu121", "max_bad": 1}
    assert cached_result(tmp_path, now, never) == result
    for other in ({"torch": "2.5.0"}, {"max_bad": 0}):
        with pytest.raises(RunError, match="same settings"):
            cached_result(tmp_path, now | other, never)
