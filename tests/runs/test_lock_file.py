"""The text of a lock: small, and refused in one line if it is not as it was written."""

from __future__ import annotations

import gzip
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import robustbench_fgsm as rf
from robustbench_fgsm.runs.lock_file import encode_lock, is_lock_file, read_lock, write_lock
from robustbench_fgsm.runs.robustness_lock import RobustnessLock
from robustbench_fgsm.spec import AttackSpec, TargetRule
from robustbench_fgsm.stats.distance import UNKNOWN
from tests.runs.locks import edit, locked, outcomes

LOCK = locked(outcomes([0, 0, 1, 0, 2, 2], [[0], [1], [1], [0], [2], [0]]))


def random_lock(seed: int, n: int, budgets: int, classes: int = 3) -> RobustnessLock:
    drawn = np.random.default_rng(seed)
    spec = AttackSpec(tuple(0.01 * (1 + budget) for budget in range(budgets)), target=TargetRule.parse("next"))
    labels, before = drawn.integers(0, classes, n).tolist(), drawn.integers(0, classes, n).tolist()
    stable, saturated = drawn.integers(0, classes, (n, budgets)), drawn.random(n) < 0.5
    after = np.where(saturated[:, None], drawn.integers(0, classes, (n, budgets)), stable)
    saturated &= drawn.random() < 0.5  # else below the share above which exact gradients alone count
    distances = {name: drawn.integers(0, UNKNOWN + 1, n) for name in ("distances", "distances_stable")} if seed % 2 else {}
    found = outcomes(before, after.tolist(), labels, targets=stable[:, 0], saturated=saturated, after_stable=stable, **distances)
    spec = replace(spec, max_epsilon=0.5 if distances else None)
    hashes = drawn.permutation(n) if seed % 3 else drawn.integers(0, n, n)
    lock = locked(found, spec, hashes.tolist(), classes)
    close = drawn.random(lock.attacks[0].right.shape) < 0.1
    return replace(lock, attacks=(replace(lock.attacks[0], close=close),))


@given(st.integers(0, 1000), st.integers(1, 300), st.integers(1, 14))
def test_reads_what_was_written(tmp_path_factory: pytest.TempPathFactory, seed: int, n: int, budgets: int) -> None:
    file = tmp_path_factory.mktemp("lock") / "robustness.lock"
    lock = random_lock(seed, n, budgets)
    assert write_lock(lock, file) == file.stat().st_size
    found = read_lock(file)
    assert encode_lock(found) == encode_lock(lock)
    for ours, theirs in zip(found.attacks, lock.attacks, strict=True):
        assert ours.spec == theirs.spec
        for stable in (False, True):
            assert np.array_equal(ours.outcomes(stable=stable), theirs.outcomes(stable=stable))
            assert np.array_equal(ours.positions(stable=stable), theirs.positions(stable=stable))  # type: ignore[arg-type]
        assert np.array_equal(ours.close, theirs.close)
    assert np.array_equal(found.labels, lock.labels)
    assert np.array_equal(found.repeats, lock.repeats)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [0, 1], ids=["outcomes", "distances"])
def test_10_000_images_take_less_than_50_kb(seed: int) -> None:
    lock = random_lock(seed, 10_000, 5, classes=10)
    few = np.zeros_like(lock.attacks[0].close)
    few[:, :100] = True
    assert len(encode_lock(replace(lock, attacks=(replace(lock.attacks[0], close=few),)))) < 50_000


def test_a_changed_image_changes_few_lines() -> None:
    before = [0, 0, 1, 1, 2, 2] * 100
    after = [[label] for label in before]
    one = encode_lock(locked(outcomes(before, after, before)))
    after[300] = [2]
    other = encode_lock(locked(outcomes(before, after, before)))
    assert sum(a != b for a, b in zip(one.splitlines(), other.splitlines(), strict=True)) == 3  # checksum, count, outcomes


@pytest.mark.parametrize(
    "cut", [*range(0, len(encode_lock(LOCK)) - 2, 97), len(encode_lock(LOCK)) - 3], ids=lambda cut: f"{cut} bytes"
)
def test_refuses_a_truncated_file(tmp_path: Path, cut: int) -> None:
    (tmp_path / "robustness.lock").write_bytes(encode_lock(LOCK)[:cut])
    refuse(tmp_path / "robustness.lock")


@pytest.mark.parametrize("at", range(20, len(encode_lock(LOCK)), 61))
def test_refuses_a_flipped_bit(tmp_path: Path, at: int) -> None:
    content = bytearray(encode_lock(LOCK))
    content[at] ^= 1
    if content.split() != encode_lock(LOCK).split():  # else only the white space is another
        (tmp_path / "robustness.lock").write_bytes(content)
        refuse(tmp_path / "robustness.lock")


def test_a_conflict_of_git_has_remedies_that_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=False, capture_output=True)

    def commit(lock: RobustnessLock) -> None:
        write_lock(lock, file)
        git("add", file.name)
        git("commit", "-m", "lock")

    monkeypatch.chdir(tmp_path)
    file, ours = Path("robustness.lock"), locked(outcomes([1, 0, 1, 0, 2, 2], [[0], [1], [1], [0], [2], [0]]))
    git("init", "-b", "main")
    commit(LOCK)
    git("checkout", "-b", "other")
    commit(locked(outcomes([0] * 6, [[1]] * 6)))
    git("checkout", "main")
    commit(ours)
    git("merge", "other")
    conflict = file.read_bytes()
    assert "the conflict of a merge by git: take one side, git checkout --ours robustness.lock or --theirs, or write" in refuse(
        file
    )
    git("checkout", "--ours", file.name)
    assert encode_lock(read_lock(file)) == encode_lock(ours)
    file.write_bytes(conflict)
    write_lock(LOCK, file)
    assert read_lock(file).n == 6


def test_refuses_what_somebody_edited(tmp_path: Path) -> None:
    file = tmp_path / "robustness.lock"
    edit(LOCK, file, lambda document: document["attacks"][0].update(correct=[6, 6]), sign=False)
    assert "another checksum" in refuse(file)


def attack(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["attacks"][0].update(changes)


def data(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["data"].update(changes)


HOSTILE_CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda document: document.pop("attacks"),
    lambda document: document.update(attacks=[]),
    lambda document: document.update(attacks=document["attacks"] * 1001),
    lambda document: document.update(schema="rfgsm.lock/2"),
    lambda document: document.update(more=1),
    lambda document: document["data"].update({"two\nlines": 1}),
    lambda document: document.update(saturated=7),
    lambda document: document.update(saturated=True),
    lambda document: document.update(torch=2),
    lambda document: document["model"].pop("sha256"),
    lambda document: document["model"].update(spec=None),
    lambda document: document["model"].update(mean="0.5"),
    lambda document: document["model"].update(std=[[1.0]]),
    lambda document: document["model"].update(mean=["0.5"]),
    data(preprocessing=[]),
    data(preprocessing={"resize": "28"}),
    data(preprocessing={"crop": [28, "x"]}),
    data(preprocessing={"interpolation": 2}),
    data(images=["2 2"]),
    data(images=["2 2 999999999999"]),
    data(images=["2 2 -2"]),
    data(images=["2 2 ٢"]),
    data(images=["0 0 0"]),
    data(classes=["one"], images=["6"]),
    data(digests=["0" * 8]),
    data(digests=["../../../"] * 3),
    data(fingerprint="x" * 64),
    data(repeats=["6"]),
    data(repeats=["2"]),
    data(repeats=["3 1"]),
    data(repeats=[3]),
    data(repeats="3"),
    attack(correct=[6, 5]),
    attack(outcomes=["DBDBDDD"]),
    attack(outcomes=["DDDDD/"]),
    attack(outcomes=["______"]),
    attack(outcomes=[]),
    attack(outcomes=["D" * 6, 6]),
    attack(stable_images=["0"]),
    attack(stable_images=["6"], stable_outcomes=["D"]),
    attack(stable_images=["0"], stable_outcomes=["DD"]),
    attack(distances=["AA" * 6]),
    lambda document: document["attacks"][0]["settings"].update(max_epsilon=0.5),
    lambda document: document["attacks"][0].update(
        settings=document["attacks"][0]["settings"] | {"max_epsilon": 0.5}, distances=["__" * 6]
    ),
    attack(close=["1 1"]),
    attack(close=["2 1"]),
    attack(close=["12"]),
    attack(close=["999999999999999999999"]),
    attack(epsilons=[]),
    attack(epsilons=[0.1, 0.2]),
    attack(epsilons=["0.1"]),
    attack(epsilons=[1e400]),
    attack(settings={}),
    attack(settings=[]),
    lambda document: document["attacks"][0]["settings"].update(norm="0.1"),
    lambda document: document["attacks"][0]["settings"].update(bounds=[0]),
    lambda document: document["attacks"][0]["settings"].update(targeted="class"),
    lambda document: document["attacks"][0]["settings"].update(seed=-1),
    lambda document: document["attacks"][0]["settings"].update(restarts=True),
]


@pytest.mark.parametrize("change", HOSTILE_CHANGES, ids=[f"change {number}" for number in range(len(HOSTILE_CHANGES))])
def test_refuses_a_hostile_file_whose_checksum_fits(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    refuse(edit(LOCK, tmp_path / "robustness.lock", change, sign=True))


@pytest.mark.parametrize(
    "content",
    [
        encode_lock(LOCK).replace(b'"saturated"', b'"saturated": 0, "saturated"', 1),
        encode_lock(LOCK).replace(b'"schema"', b'"schema": "rfgsm.lock/1", "schema"', 1),
        encode_lock(LOCK).replace(b'"saturated": ', b'"saturated": NaN, "x": ', 1),
        encode_lock(LOCK).replace(b'"saturated": ', b'"saturated": 1' + b"0" * 400, 1),
        encode_lock(LOCK).replace(b"rfgsm.lock/1", b"rfgsm.lock/99"),
        encode_lock(LOCK).decode().encode("utf-16"),
        encode_lock(LOCK)[:200] + b"\0" + encode_lock(LOCK)[200:],
        encode_lock(LOCK) * 2,
        gzip.compress(encode_lock(LOCK), mtime=0),
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n",
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 10_000,
        b'{"schema":"rfgsm.lock/1"}',
        b"0" * 5000,
    ],
    ids=lambda content: str(content[:20]),
)
def test_refuses_other_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "robustness.lock").write_bytes(content)
    refuse(tmp_path / "robustness.lock")


@pytest.mark.parametrize(("old", "new"), [(b"\n", b"\r\n"), (b"{\n", b"\xef\xbb\xbf{\n")], ids=["CRLF", "BOM"])
def test_ends_of_lines_and_marks_of_editors_change_nothing(tmp_path: Path, old: bytes, new: bytes) -> None:
    count = -1 if old == b"\n" else 1
    (tmp_path / "robustness.lock").write_bytes(encode_lock(LOCK).replace(old, new, count))
    assert encode_lock(read_lock(tmp_path / "robustness.lock")) == encode_lock(LOCK)


def test_refuses_links_and_places_without_a_file(tmp_path: Path) -> None:
    write_lock(LOCK, tmp_path / "robustness.lock")
    (tmp_path / "link.lock").symlink_to(tmp_path / "robustness.lock")
    with pytest.raises(rf.UnsafeError):
        read_lock(tmp_path / "link.lock")
    os.mkfifo(tmp_path / "pipe.lock")
    refuse(tmp_path / "pipe.lock")
    assert "rfgsm lock RUN" in refuse(tmp_path / "none.lock")
    refuse(tmp_path)


def test_replaces_locks_alone(tmp_path: Path) -> None:
    file = tmp_path / "robustness.lock"
    file.write_text("my notes", encoding="utf-8")
    with pytest.raises(rf.SettingError, match="is not a lock of rfgsm: remove it, or choose another path"):
        write_lock(LOCK, file)
    assert file.read_text(encoding="utf-8") == "my notes"
    file.unlink()
    write_lock(LOCK, file)
    edit(LOCK, file, lambda document: document.update(saturated=2), sign=False)  # a lock that git merged
    write_lock(LOCK, file)
    assert read_lock(file).n == 6


def test_knows_locks_by_what_is_there_or_by_their_suffix(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "baseline").write_bytes(encode_lock(LOCK))
    assert [is_lock_file(tmp_path / name) for name in ("run", "baseline", "none.lock", "none")] == [False, True, True, False]


def refuse(file: Path) -> str:
    """The message of the error, one line."""
    with pytest.raises(rf.InputError) as failed:
        read_lock(file)
    message = str(failed.value)
    assert "\n" not in message
    assert len(message) < 600
    return message
