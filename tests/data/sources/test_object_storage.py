"""Addresses in object storage are checked before a file is read."""

from __future__ import annotations

import sys

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.data.sources.object_storage import open_filesystem
from robustbench_fgsm.errors import DataError


@pytest.mark.parametrize("pattern", ["ftp://x.org/a.tar", "a.tar::b.tar", "simplecache::s3://x/a.tar", "s3://a::b"])
def test_other_addresses_are_refused(pattern: str) -> None:
    with pytest.raises(DataError, match=r"must name files, got|must begin with one of .*s3://"):
        rf.load_data(f"wds:{pattern}")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("fsspec", r"s3:// needs fsspec, .*: pip install 'robustbench-fgsm\[remote\]'"),
        ("s3fs", "s3:// needs s3fs beside fsspec, got none: pip install s3fs"),
    ],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, missing: str, message: str) -> None:
    open_filesystem.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(DataError, match=message):
        rf.load_data("wds:s3://bucket/val-{0..1}.tar")
