"""`hf-data:NAME`: a data set of the Hugging Face hub, or a directory that `datasets` saved or can read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from robustbench_fgsm.data.class_names import numbered_class_names
from robustbench_fgsm.data.decoding import UnreadableError
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.labels import UNLABELLED, to_class_index, to_class_indices
from robustbench_fgsm.data.registry import SPLIT_PREFERENCE, DataOptions
from robustbench_fgsm.data.sources.image_files import read_image_file
from robustbench_fgsm.errors import DataError, UnsafeError, describe_error, did_you_mean, first_line
from robustbench_fgsm.files.regular_files import is_directory, is_file, is_present, read_text

CARD_FILES = ("README.md", ".huggingface.yaml")
"""Files of a directory whose YAML tells `datasets` which files it has."""

MAX_CARD_BYTES = 2**22

END_OF_STREAM = b"\xff\xff\xff\xff" + bytes(4)
"""Last bytes of a stream of Arrow."""


class TableImageSource:
    """Rows of a `datasets` table by index, with images as stored bytes, or in files below the named directory or a cache."""

    def __init__(self, table: Any, image: str, label: str, name: str) -> None:
        self._table = table
        self._image = image
        self._label = label
        self._name = name
        self.class_names = _text_class_names(table, label, name)
        self._class_indices = {found: index for index, found in enumerate(self.class_names)}

    def __len__(self) -> int:
        return len(self._table)

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 of label, size and file name of every image; no image is read."""
        import pyarrow.compute as arrow

        digest = hashlib.sha256(repr(list(self.labels())).encode())
        for chunk in self._table.data.column(self._image).chunks:
            sizes = arrow.binary_length(arrow.struct_field(chunk, "bytes")).to_pylist()
            names = [Path(path or "").name for path in arrow.struct_field(chunk, "path").to_pylist()]
            for size, name in zip(sizes, names, strict=True):
                digest.update(f"{size}\0{name}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def read(self, index: int) -> tuple[bytes, int]:
        """Return the image's bytes and its label; raise UnreadableError if the row lacks one of them."""
        row = self._table[index]
        image, label = row[self._image], row[self._label]
        if not image or label is None:
            raise UnreadableError("the row has no image or no label")
        content = image["bytes"] if image["bytes"] is not None else self._read_file(image["path"])
        return content, self._to_index(label)

    @cached_property
    def _image_roots(self) -> list[str]:
        """Return the directories of the image files: the data set's own, and those into which its libraries fetch and unpack."""
        from datasets import config
        from huggingface_hub.constants import HF_HUB_CACHE

        fetched = [config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, HF_HUB_CACHE]
        return [os.path.realpath(root) for root in [*fetched, *([self._name] if is_directory(Path(self._name)) else [])]]

    def _read_file(self, path: str | None) -> bytes:
        """Return the bytes of an image file; raise UnreadableError for a file that is not part of the data set."""
        if not path:
            raise UnreadableError("the row has no image")
        file = Path(os.path.realpath(path.replace("\0", "")))
        if not any(map(file.is_relative_to, self._image_roots)):
            raise UnreadableError(f"the row names a file that is not part of the data set, {path[:100]!r}")
        return read_image_file(file, follow_links=False)

    def path(self, index: int) -> str:
        """Return the name of the data set and the number of the row."""
        return f"{self._name}[{index}]"

    def labels(self) -> Sequence[int]:
        """Return all labels, by index, -1 if there is none."""
        return [self._to_index(label) for label in self._table[self._label]]

    def _to_index(self, label: Any) -> int:
        if label is None or label == UNLABELLED:
            return UNLABELLED
        if self._class_indices:
            return self._class_indices[label.strip()]
        return to_class_index(label, f"{self._label} of {self._name}")


def _text_class_names(table: Any, label: str, name: str) -> tuple[str, ...]:
    """Return the names of classes in a column of text, sorted; empty for text of digits and for other columns."""
    if getattr(table.features[label], "dtype", "") not in ("string", "large_string"):
        return ()
    texts = [text for text in table[label] if text is not None]
    return to_class_indices(texts, f"{label} of {name}").names or () if texts else ()


def load(name: str, options: DataOptions) -> ImageDataset:
    """Return the rows of one split; classes are named as in the table, else by numbers. No code of the data is run.

    Raises DataError if the table is unreachable, or has not exactly one column of images and one of labels; SettingError if there
    is no such split.
    """
    table = _open_table(name)
    from datasets import ClassLabel, DatasetDict, Image, Value

    if isinstance(table, DatasetDict):
        splits = dict.fromkeys([*(split for split in SPLIT_PREFERENCE if split in table), *table])
        table = table[options.choose_split(name, tuple(splits))]
    else:
        options.reject_split(name)

    images = [key for key, feature in table.features.items() if isinstance(feature, Image)]
    labels = [key for key, feature in table.features.items() if isinstance(feature, ClassLabel)]
    labels = labels or [key for key, feature in table.features.items() if isinstance(feature, Value) and key in ("label", "labels")]
    for option, key in (("--images-key", options.images_key), ("--labels-key", options.labels_key)):
        if key is not None and key not in table.features:
            columns = ", ".join(table.features)
            raise DataError(
                f"{name} must have the column of {option}, got {key!r} and {columns}: {did_you_mean(key, table.features)}"
            )
    images = images if options.images_key is None else [options.images_key]
    labels = labels if options.labels_key is None else [options.labels_key]
    if len(images) != 1 or len(labels) != 1:
        raise DataError(
            f"{name} must have one column of images and one of labels, got {', '.join(table.features)}: "
            "pass --images-key NAME and --labels-key NAME"
        )
    feature = table.features[labels[0]]
    bare = table.select_columns([images[0], labels[0]]).cast_column(images[0], Image(decode=False))
    source = TableImageSource(bare, images[0], labels[0], name)
    classes = tuple(feature.names) if isinstance(feature, ClassLabel) else source.class_names
    classes = classes or numbered_class_names(max(source.labels(), default=-1) + 1)
    return ImageDataset(f"hf-data:{name}", source, classes, workers=options.workers)


def _open_table(name: str) -> Any:
    import datasets

    path = Path(name)
    if is_directory(path):
        _check_named_files(path)
    try:
        if is_directory(path) and any(is_file(path / file) for file in ("state.json", "dataset_dict.json")):
            return _check_whole(datasets.load_from_disk(str(path)))
        if is_present(path):
            return datasets.load_dataset(str(path), cache_dir=str(Path(datasets.config.HF_DATASETS_CACHE, _state_of_files(path))))
        return datasets.load_dataset(name)
    except Exception as error:  # `datasets` trusts the types in its files
        raise DataError(
            f"hf-data must name a data set of the hub or a directory of one, got {name} ({first_line(error)}): "
            "check the name, or fetch it where there is a network"
        ) from error


def _state_of_files(path: Path) -> str:
    """Return a hash of names, sizes and times of a file, or of all files below a directory.

    `datasets` keeps the rows that it has read, and takes a file of one path and time of modification for unchanged. A change also
    sets the time of the last change of status, which no program can set back.
    """
    digest = hashlib.sha256()
    for file in sorted([path, *path.rglob("*")]):
        with suppress(OSError):  # a link to nothing, for one
            found = file.stat()
            state = (str(file), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            digest.update(repr(state).encode(errors="surrogateescape"))
    return f"rfgsm-{digest.hexdigest()[:16]}"


def _check_whole(table: Any) -> Any:
    """Return a saved table.

    Raises DataError if a file was cut or ends early, whose rows would be missing without an error; pyarrow.ArrowInvalid if lengths
    and places inside do not fit, which pyarrow does not check when it reads values.
    """
    import pyarrow as pa

    parts = table.values() if isinstance(table, dict) else [table]
    for file in {entry["filename"] for part in parts for entry in part.cache_files}:
        with pa.memory_map(file) as content:
            for batch in pa.ipc.open_stream(content):
                batch.validate(full=True)
            end = content.tell()
            content.seek(max(0, end - len(END_OF_STREAM)))
            if end != content.size() or content.read(len(END_OF_STREAM)) != END_OF_STREAM:
                raise DataError(f"{file} ends at byte {end:,} of {content.size():,}, without the end of an Arrow stream")
    return table


def _check_named_files(directory: Path) -> None:
    """Raise UnsafeError if the card of a directory names files outside of it, which `datasets` would read or fetch."""
    import yaml

    for name in CARD_FILES:
        if not is_present(directory / name):
            continue
        text = read_text(directory / name, MAX_CARD_BYTES, follow_links=True)
        if name.endswith(".md"):
            text = text.split("\n---", 1)[0].removeprefix("---") if text.startswith("---") else ""
        try:
            waiting, seen = [(False, yaml.safe_load(text))], set[tuple[bool, int]]()
            while waiting:
                named, part = waiting.pop()
                if (named, id(part)) in seen:  # an alias, of which a few can stand for billions of values
                    continue
                seen.add((named, id(part)))
                if isinstance(part, str) and named and not _is_below(part):
                    raise UnsafeError(
                        f"{directory / name} must name files of its directory alone, got {part[:100]!r}: "
                        "put them there, or fetch the data set by its name on the hub"
                    )
                if isinstance(part, dict):
                    waiting += [(named or key in ("data_files", "data_dir"), value) for key, value in part.items()]
                elif isinstance(part, list):
                    waiting += [(named, value) for value in part]
        except (yaml.YAMLError, RecursionError) as error:
            raise DataError(f"{directory / name} must be YAML, got {describe_error(error)}: correct it, or remove it") from error


def _is_below(path: str) -> bool:
    """Return True if a path or pattern leads to files below the directory."""
    return "://" not in path and "::" not in path and ".." not in Path(path).parts and not Path(path).is_absolute()
