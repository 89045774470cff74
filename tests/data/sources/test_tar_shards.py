"""Patterns of shards name files in their order."""

from __future__ import annotations

from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.data.sources.tar_shards import TarShard, expand_pattern
from robustbench_fgsm.errors import DataError, UnsafeError


def last(shard: TarShard) -> str:
    return str(shard).rpartition("/")[2]


def test_braces(tmp_path: Path) -> None:
    for name in ("a-8.tar", "a-9.tar", "a-10.tar", "b-08.tar", "b-09.tar", "b-10.tar", "c-x.tar", "c-y.tar"):
        (tmp_path / name).touch()
    assert [last(file) for file in expand_pattern(f"{tmp_path}/a-{{8..10}}.tar")] == ["a-8.tar", "a-9.tar", "a-10.tar"]
    assert [last(file) for file in expand_pattern(f"{tmp_path}/b-{{08..10}}.tar")] == ["b-08.tar", "b-09.tar", "b-10.tar"]
    assert [last(file) for file in expand_pattern(f"{tmp_path}/{{c}}-{{y,x}}.tar")] == ["c-y.tar", "c-x.tar"]
    with pytest.raises(DataError, match=r"shard must be a file, got .*a-11.tar, which does not exist"):
        expand_pattern(f"{tmp_path}/a-{{10..11}}.tar")


@pytest.mark.parametrize("pattern", ["pipe:touch touched", " PIPE:touch touched", "pipe:curl x | tee touched"])
def test_rejects_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """Fault 7."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeError, match="pipe: would run a program"):
        rf.load_data(f"wds:{pattern}")
    assert list(tmp_path.iterdir()) == []
