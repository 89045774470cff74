"""Labelled image files in a directory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from robustbench_fgsm.data.decoding import MAX_IMAGE_BYTES, UnreadableError
from robustbench_fgsm.errors import RfgsmError, first_line
from robustbench_fgsm.files.regular_files import read_bytes


def read_image_file(file: Path, *, follow_links: bool) -> bytes:
    """Return the bytes of an image file; raise OSError if it cannot be read, and UnreadableError for a link, a pipe or a device."""
    try:
        return read_bytes(file, MAX_IMAGE_BYTES, follow_links=follow_links)
    except (RfgsmError, ValueError) as error:  # the latter for a path with a null byte
        raise UnreadableError(first_line(error).partition(": ")[0].removeprefix(f"{file} ")) from error


class FileImageSource:
    """Image files by index: the root directory, paths relative to it, and labels."""

    def __init__(self, root: Path, paths: Sequence[str], labels: Sequence[int], *, follow_links: bool = False) -> None:
        self._root = root
        self._follow_links = follow_links
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
        """Return the file's bytes and its label; raise OSError or UnreadableError if it is not a regular file that can be read."""
        return read_image_file(self._root / self._paths[index], follow_links=self._follow_links), int(self._labels[index])

    def path(self, index: int) -> str:
        """Return the path of the file."""
        return str(self._root / self._paths[index])

    def labels(self) -> Sequence[int]:
        """Return all labels, by index."""
        found: list[int] = self._labels.tolist()
        return found
