"""`folder:DIR`, as torchvision's ImageFolder takes it, and what it passes over in silence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import to_tensor

import robustbench_fgsm as rf
from robustbench_fgsm.errors import DataError

Encode = Callable[..., bytes]
Folder = Callable[..., Path]


def test_matches_torchvision(folder: Folder, encode: Encode) -> None:
    place = folder(("cat", "dog", "Zebra"))
    for below in ("a/b", "a-b", "a"):
        (place / "dog" / below).mkdir(parents=True, exist_ok=True)
        (place / "dog" / below / "x.JPEG").write_bytes(encode(7, "JPEG"))
    theirs = ImageFolder(str(place), transform=to_tensor)
    ours = rf.load_data(f"folder:{place}")
    assert ours.classes == tuple(theirs.classes) == ("Zebra", "cat", "dog")
    (batch,) = ours.batches(0, 100, 100)
    assert batch.labels.tolist() == theirs.targets
    assert torch.equal(batch.images, torch.stack([image for image, _ in theirs]))
    assert batch.ids.tolist() == list(range(len(theirs)))


def test_ignores_other_files(folder: Folder) -> None:
    place = folder()
    for name in ("notes.txt", ".DS_Store", ".hidden.png", "Thumbs.db"):
        (place / "cat" / name).write_text("text")
    (place / "cat" / "moving.gif").write_bytes(b"GIF89a")
    (batch,) = rf.load_data(f"folder:{place}").batches(0, 100, 100)
    assert len(batch) == 6
    assert [bad.path for bad in batch.bad] == [str(place / "cat" / "moving.gif")]


def test_a_class_without_images_stays(folder: Folder) -> None:
    place = folder()
    (place / "cow").mkdir()
    data = rf.load_data(f"folder:{place}")
    assert data.classes == ("cat", "cow", "dog")
    assert {int(label) for batch in data for label in batch.labels} == {0, 2}


def test_a_split_is_a_directory_between(folder: Folder, tmp_path: Path) -> None:
    folder().rename(tmp_path / "val")
    assert len(rf.load_data(f"folder:{tmp_path}", split="val")) == 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: None, "cannot be read"),
        (lambda place: place.mkdir(), "must hold one directory for each class, got none"),
        (lambda place: (place / "cat").mkdir(parents=True), "must hold images .* got none"),
    ],
)
def test_rejects_a_bad_folder(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "x")
    with pytest.raises(DataError, match=message):
        rf.load_data(f"folder:{tmp_path / 'x'}")


def test_rejects_unpadded_numbers_as_labels(folder: Folder) -> None:
    """Sorted as text 10 stands before 2, so that most labels would be another model's."""
    place = folder(tuple(map(str, range(12))), each=1)
    with pytest.raises(DataError, match="got 10 in place 2, sorted as text: pass --class-map numbers"):
        rf.load_data(f"folder:{place}")
    data = rf.load_data(f"folder:{place}", class_map="numbers")
    (batch,) = data.batches(0, 12, 12)
    assert batch.labels.tolist() == [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
    assert data.classes == tuple(map(str, range(12)))


@pytest.mark.parametrize("names", [[f"{label:02d}" for label in range(12)], [f"{label:03d}" for label in range(12)]], ids=len)
def test_padded_numbers_are_labels(folder: Folder, names: list[str]) -> None:
    place = folder(tuple(names), each=1)
    data = rf.load_data(f"folder:{place}")
    (batch,) = data.batches(0, 12, 12)
    assert batch.labels.tolist() == list(range(12))
    assert data.classes == tuple(map(str, range(12)))
    (place / names[3]).rename(place / f"{20:0{len(names[3])}d}")
    with pytest.raises(DataError, match=f"got {names[4]} in place 3"):
        rf.load_data(f"folder:{place}")


def test_rejects_gaps_among_numbers(folder: Folder) -> None:
    with pytest.raises(DataError, match="got 3 in place 1"):
        rf.load_data(f"folder:{folder(('0', '3'))}")


def test_a_class_map_orders_labels(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text(json.dumps(["dog", "cow", "cat"]))
    data = rf.load_data(f"folder:{folder()}", class_map=tmp_path / "map.json")
    assert data.classes == ("dog", "cow", "cat")
    assert next(data.batches(0, 6, 6)).labels.tolist() == [2, 2, 2, 0, 0, 0]


def test_undecodable_names_can_be_printed(folder: Folder) -> None:
    place = os.fsencode(folder())
    os.mkdir(place + b"/\xff")  # noqa: PTH102
    Path(os.fsdecode(place + b"/\xff/\xfe.png")).write_bytes(b"")
    data = rf.load_data(f"folder:{os.fsdecode(place)}")
    (batch,) = data.batches(0, 100, 100)
    assert data.classes == ("cat", "dog", "\\udcff")
    assert batch.bad[0].path.endswith("\\udcff/\\udcfe.png")
    assert batch.bad[0].path.encode()


def test_a_deleted_file_is_bad(folder: Folder) -> None:
    place = folder()
    data = rf.load_data(f"folder:{place}")
    (place / "dog" / "1.png").unlink()
    (batch,) = data.batches(0, 6, 6)
    assert [(bad.path, bad.reason) for bad in batch.bad] == [(str(place / "dog" / "1.png"), "No such file or directory")]


def test_a_directory_that_cannot_be_listed_is_an_error(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its images would be missing in silence: its path is longer than the system takes."""
    place = folder()
    monkeypatch.chdir(place / "cat")
    for _ in range(20):
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    with pytest.raises(DataError, match=r"cannot be read \(File name too long\)"):
        rf.load_data(f"folder:{place}")


def test_links_lose_and_repeat_no_image(folder: Folder) -> None:
    place = folder()
    (place / "cat" / "loop").symlink_to(place / "cat")
    with pytest.raises(DataError, match="must be reached once, got another way to it by links"):
        rf.load_data(f"folder:{place}")
    (place / "cat" / "loop").unlink()
    (place / "eel").symlink_to(place / "nowhere")
    with pytest.raises(DataError, match="got eel, which leads nowhere"):
        rf.load_data(f"folder:{place}")


def test_a_pipe_is_bad_and_is_not_waited_for(folder: Folder) -> None:
    place = folder()
    os.mkfifo(place / "cat" / "pipe.png")
    (batch,) = rf.load_data(f"folder:{place}").batches(0, 100, 100)
    assert len(batch) == 6
    assert [bad.reason for bad in batch.bad] == ["must be a regular file, got a pipe"]
