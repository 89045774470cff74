"""Labelled image files in a directory."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from robustbench_fgsm.data.decoding import UnreadableError


class FileImageSource:
    """Image files by index: the root directory, paths relative to it, and labels."""

    def __init__(self, root: Path, paths: Sequence[str], labels: Sequence[int]) -> None:
        self._root = root
        self._paths = paths
        self._labels = np.asarray(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._paths)

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 of relative path, size and label of every file; no file is read."""
        digest = hashlib.sha256()
        for path, label in zip(self._paths, self._labels.tolist(), strict=True):
            digest.update(f"{path}\0{self._size(path)}\0{label}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def _size(self, path: str) -> int:
        try:
            return (self._root / path).stat().st_size
        except OSError:  # it is counted as bad when its turn comes
            return -1

    def read(self, index: int) -> tuple[bytes, int]:
        """Return the file's bytes and its label; raise OSError if it cannot be read, and UnreadableError for a pipe or device."""
        path = self._root / self._paths[index]
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableError("it is no regular file")
        return path.read_bytes(), int(self._labels[index])

    def path(self, index: int) -> str:
        """Return the path of the file."""
        return str(self._root / self._paths[index])

    def labels(self) -> Sequence[int]:
        """Return all labels, by index."""
        found: list[int] = self._labels.tolist()
        return found
