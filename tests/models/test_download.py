"""Downloads are whole, and are what their name says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.download import fetch_file


def test_a_wrong_download_is_removed(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"not what it was")
    target = tmp_path / "cache" / "net-0123456789.pth"
    with pytest.raises(ModelError, match="another hash"):
        fetch_file((tmp_path / "there").as_uri(), target, "net")
    assert list(target.parent.iterdir()) == []


def test_a_download_appears_whole(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    target = tmp_path / "cache" / f"net-{digest[:8]}.pth"
    assert fetch_file((tmp_path / "there").as_uri(), target, "net").read_bytes() == b"content"
