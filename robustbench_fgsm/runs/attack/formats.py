"""File formats of a shard of adversarial images: safetensors, npz, or a directory of 8-bit PNG files with an index."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robustbench_fgsm.errors import SettingError, describe_error, did_you_mean
from robustbench_fgsm.evaluation.craft_shards import AdversarialShard, ShardColumns
from robustbench_fgsm.files.array_files import read_npz, read_safetensors, write_safetensors
from robustbench_fgsm.files.regular_files import check_not_a_link, create_file, hash_file, is_present, open_to_read, read_bytes

INDEX_FILE = "index.csv"
MAX_INDEX_BYTES = 2**30


class Mismatch(NamedTuple):
    """A difference between what a manifest records and what is found."""

    where: str
    expected: str
    found: str


@dataclass(frozen=True)
class ShardFormat:
    """A file format of shards. A shard is one file, or with an index file a directory of the files that the index lists."""

    suffix: str
    index_file: str
    eight_bit: bool
    write: Callable[[Path, AdversarialShard], None]
    read_columns: Callable[[Path], ShardColumns]
    read_images: Callable[[Path], Tensor]

    def shard_name(self, number: int) -> str:
        """Return the name of the file or directory of a shard."""
        return f"adversarial-{number:05d}{self.suffix}"

    def hashed_file(self, number: int) -> str:
        """Return the name of the file whose hash verifies the whole shard."""
        return f"{self.shard_name(number)}/{self.index_file}" if self.index_file else self.shard_name(number)

    def manifest_entry(self, directory: Path, number: int, n: int) -> dict[str, Any]:
        """Return the manifest's entry for a shard of n images."""
        file = directory / self.hashed_file(number)
        return {"name": self.hashed_file(number), "sha256": hash_file(file), "bytes": file.stat().st_size, "n": n}

    def find_damage(self, directory: Path, record: dict[str, Any]) -> list[Mismatch]:
        """Return the files of a recorded shard that are missing or changed."""
        name = str(record.get("name"))
        if self.index_file and is_present((directory / name).parent):
            check_not_a_link((directory / name).parent)
        found = compare_file(directory / name, name, str(record.get("sha256")), record.get("bytes"))
        try:
            return found or (_find_listed_damage((directory / name).parent) if self.index_file else [])
        except (KeyError, ValueError) as error:
            return [Mismatch(name, "a list of files", describe_error(error))]


def compare_file(file: Path, name: str, sha256: str, size: object = None) -> list[Mismatch]:
    """Return the first difference between a file and its record, if any."""
    if not is_present(file):
        return [Mismatch(name, "a file", "none")]
    with open_to_read(file) as stream:
        found = os.fstat(stream.fileno()).st_size
        if size is not None and found != size:
            return [Mismatch(name, f"{size} bytes", f"{found} bytes")]
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return [] if digest == sha256 else [Mismatch(name, f"sha256 {sha256}", f"sha256 {digest}")]


def get_shard_format(name: str) -> ShardFormat:
    """Return a format by its name; raise SettingError for an unknown name."""
    if name not in SHARD_FORMATS:
        raise SettingError(f"format must be one of {', '.join(SHARD_FORMATS)}, got {name!r}: {did_you_mean(name, SHARD_FORMATS)}")
    return SHARD_FORMATS[name]


def _write_safetensors(file: Path, shard: AdversarialShard) -> None:
    columns = {name: torch.from_numpy(column) for name, column in shard.record.to_columns().items()}
    write_safetensors(file, {"images": shard.images.contiguous(), **columns})


def _write_npz(file: Path, shard: AdversarialShard) -> None:
    arrays: dict[str, Any] = {"images": shard.images.numpy(), **shard.record.to_columns()}
    with create_file(file) as stream:
        np.savez(stream, **arrays)


def _write_png(directory: Path, shard: AdversarialShard) -> None:
    directory.mkdir()
    columns = shard.record.to_columns()
    with io.TextIOWrapper(create_file(directory / INDEX_FILE), newline="", encoding="utf-8") as stream:
        index = csv.writer(stream, lineterminator="\n")
        index.writerow(["file", "sha256", *columns])
        for levels, id_, *row in zip(shard.images, shard.record.outcomes.ids, *columns.values(), strict=True):
            file = directory / f"{id_:08d}.png"
            pixels = levels.squeeze(0) if len(levels) == 1 else levels.permute(1, 2, 0)
            with create_file(file) as image:
                Image.fromarray(pixels.contiguous().numpy()).save(image, format="PNG")
            index.writerow([file.name, hash_file(file), *map(_cell_text, row)])


def _png_index(directory: Path) -> dict[str, list[str]]:
    try:
        content = read_bytes(check_not_a_link(directory) / INDEX_FILE, MAX_INDEX_BYTES)
        header, *rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""))
        return {name: [row[place] for row in rows] for place, name in enumerate(header)}
    except (csv.Error, IndexError) as error:
        raise ValueError(f"{INDEX_FILE} ({error})") from error


def _png_columns(directory: Path) -> ShardColumns:
    index = _png_index(directory)
    columns = {name: [_parse_cell(text) for text in index[name]] for name in index if name not in ("file", "sha256")}
    return {name: np.array(column, None if column else np.int64) for name, column in columns.items()}


def _cell_text(value: Any) -> str:
    """Return a number, a flag or a row of labels as text."""
    return str(value).lower() if np.ndim(value) == 0 else " ".join(map(str, value))


def _parse_cell(text: str) -> int | bool | list[int]:
    if " " in text:
        return [int(word) for word in text.split(" ")]
    return text == "true" if text in ("true", "false") else int(text)


def _png_images(directory: Path) -> Tensor:
    images = []
    for name in _png_index(directory)["file"]:
        with open_to_read(directory / name) as stream, Image.open(stream, formats=["PNG"]) as image:
            pixels = torch.from_numpy(np.array(image))
        images.append(pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1))
    return torch.stack(images)


def _find_listed_damage(directory: Path) -> list[Mismatch]:
    index = _png_index(directory)
    listed = dict(zip(index["file"], index["sha256"], strict=True))
    found = []
    for name, sha256 in listed.items():
        if Path(name).name != name:
            return [Mismatch(f"{directory.name}/{INDEX_FILE}", "plain file names", name)]
        found += compare_file(directory / name, f"{directory.name}/{name}", sha256)
    extra = sorted(file.name for file in directory.iterdir() if file.name not in {*listed, INDEX_FILE})
    return found + [Mismatch(f"{directory.name}/{name}", "no such file", "a file") for name in extra]


SHARD_FORMATS = {
    "safetensors": ShardFormat(
        ".safetensors",
        "",
        False,
        _write_safetensors,
        partial(read_safetensors, without="images", framework="np"),
        lambda file: read_safetensors(file)["images"],
    ),
    "npz": ShardFormat(
        ".npz", "", False, _write_npz, partial(read_npz, without="images"), lambda file: torch.from_numpy(read_npz(file)["images"])
    ),
    "png": ShardFormat("", INDEX_FILE, True, _write_png, _png_columns, _png_images),
}
"""Formats by their names in `--format`."""
