"""`folder:DIR`, as torchvision's ImageFolder takes it, and what it passes over in silence."""

from __future__ import annotations

import json
import os
import shutil
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


def test_no_image_vanishes(folder: Folder, encode: Encode) -> None:
    """An image beside the class directories has no class. A hidden directory is none, at any depth."""
    place = folder()
    (place / "loose.png").write_bytes(encode(9))
    for hidden in (".cache", "cat/.ipynb_checkpoints"):
        (place / hidden).mkdir()
        (place / hidden / "x.png").write_bytes(encode(9))
    data = rf.load_data(f"folder:{place}")
    (batch,) = data.batches(0, 100, 100)
    assert (len(batch), len(data)) == (6, 7)
    assert [bad.path for bad in batch.bad] == [str(place / "loose.png")]
    assert len(rf.load_data(f"folder:{place}", limit=6, sample="stratified")) == 6


def test_a_directory_between_is_named(folder: Folder, tmp_path: Path) -> None:
    folder().rename(tmp_path / "photos")
    with pytest.raises(DataError, match=r"got photos alone, which holds directories: pass folder:") as raised:
        rf.load_data(f"folder:{tmp_path}")
    assert len(rf.load_data(str(raised.value).rsplit(" ", 1)[1])) == 6


def test_a_class_without_images_stays(folder: Folder) -> None:
    place = folder()
    (place / "cow").mkdir()
    data = rf.load_data(f"folder:{place}")
    assert data.classes == ("cat", "cow", "dog")
    assert {int(label) for batch in data for label in batch.labels} == {0, 2}


@pytest.mark.parametrize(
    "names", [("train", "val"), ("Training", "Testing"), ("TRAIN", "Valid", "Test"), ("train", "val", "extra")]
)
def test_splits_are_no_classes(folder: Folder, tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        folder().rename(tmp_path / name)
    with pytest.raises(DataError, match=r"got splits .*: pass --split") as raised:
        rf.load_data(f"folder:{tmp_path}")
    split = str(raised.value).rsplit(" ", 1)[1]
    assert split == names[1]
    assert len(rf.load_data(f"folder:{tmp_path}", split=split)) == 6


@pytest.mark.parametrize("beside", ["", "annotations", "__MACOSX/val"])
def test_one_split_is_no_class(folder: Folder, tmp_path: Path, beside: str) -> None:
    folder().rename(tmp_path / "val")
    (tmp_path / beside).mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError, match=r"got the split val: pass --split val"):
        rf.load_data(f"folder:{tmp_path}")
    assert rf.load_data(f"folder:{tmp_path}", split="val").classes == ("cat", "dog")


@pytest.mark.parametrize("inside", [(), ("steam", "diesel")])
def test_a_class_may_have_the_name_of_a_split(folder: Folder, tmp_path: Path, inside: tuple[str, ...]) -> None:
    """Images of trains and planes, with or without directories inside."""
    place = folder(("plane", "train"))
    for name in inside:
        (place / "train" / name).mkdir()
    assert rf.load_data(f"folder:{place}").classes == ("plane", "train")


def test_a_nested_class_may_have_the_name_of_a_split(folder: Folder, tmp_path: Path) -> None:
    place = folder(("steam", "diesel"))
    (place / "train").mkdir()
    for name in ("steam", "diesel"):
        (place / name).rename(place / "train" / name)
    shutil.copytree(place / "train", place / "plane")
    assert rf.load_data(f"folder:{place}").classes == ("plane", "train")


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


INSIDE = "must hold no links, got .*: remove it, replace it by a copy, or pass --follow-links"
OUTSIDE = "must hold its images itself, got .*, a link out of it: replace it by a copy"
TWICE = "must be reached once, got another way to it by links: remove one of them"
NOWHERE = "must hold whole links, got .*, which leads nowhere: fix or remove it"

LINKS = {
    "cat/loop": ("cat", INSIDE, TWICE),
    "cat/root": (".", INSIDE, TWICE),
    "eel": ("dog", INSIDE, TWICE),
    "cat/again.png": ("dog/1.png", INSIDE, TWICE),
    "cat/self.png": ("cat/self.png", NOWHERE, NOWHERE),
    "cat/self": ("cat/self", NOWHERE, NOWHERE),
    "cat/none.png": ("none.png", NOWHERE, NOWHERE),
    "fox": ("none", NOWHERE, NOWHERE),
    "cat/out.png": ("../out/secret.png", OUTSIDE, OUTSIDE),
    "cat/out": ("../out", OUTSIDE, OUTSIDE),
    "gnu": ("../out", OUTSIDE, OUTSIDE),
    "cat/zero.png": ("/dev/zero", OUTSIDE, OUTSIDE),
    "cat/pipe": ("../out/pipe", OUTSIDE, OUTSIDE),
}


@pytest.mark.parametrize("follow_links", [False, True])
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.timeout(60)
def test_links_lose_and_repeat_no_image(folder: Folder, link: str, follow_links: bool) -> None:
    place = folder()
    (place.parent / "out").mkdir()
    os.mkfifo(place.parent / "out" / "pipe")
    shutil.copy(place / "cat" / "0.png", place.parent / "out" / "secret.png")
    target, *messages = LINKS[link]
    (place / link).symlink_to(target if target.startswith("/") else place / target)
    with pytest.raises(DataError, match=messages[follow_links]):
        rf.load_data(f"folder:{place}", follow_links=follow_links)
    (place / link).unlink()  # the remedy
    assert len(rf.load_data(f"folder:{place}", follow_links=follow_links)) == 6


def test_follows_links_inside_the_folder(folder: Folder, tmp_path: Path) -> None:
    place = folder()
    plain = [next(rf.load_data(f"folder:{place}").batches(0, 9, 9))]
    (place / ".store").mkdir()
    (place / "dog").rename(place / ".store" / "dogs")
    (place / "dog").symlink_to(".store/dogs")
    (place / "cat" / "0.png").rename(place / ".store" / "a")
    (place / "cat" / "0.png").symlink_to("../.store/a")
    (place / "notes").symlink_to("/etc/hostname")  # not an image
    (place / ".hidden").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(place)  # the user names it
    data = rf.load_data(f"folder:{tmp_path / 'link'}", follow_links=True)
    (batch,) = data.batches(0, 9, 9)
    assert torch.equal(batch.images, plain[0].images)
    assert data.settings == {"follow_links": True}  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=INSIDE):
        rf.load_data(f"folder:{place}")


def test_an_image_that_becomes_a_link_is_bad(folder: Folder) -> None:
    place = folder()
    data = rf.load_data(f"folder:{place}")
    (place / "cat" / "0.png").unlink()
    (place / "cat" / "0.png").symlink_to("1.png")
    (batch,) = data.batches(0, 9, 9)
    assert [bad.reason for bad in batch.bad] == ["must be a file of its own, got a symbolic link to another file"]


def test_a_pipe_is_bad_and_is_not_waited_for(folder: Folder) -> None:
    place = folder()
    os.mkfifo(place / "cat" / "pipe.png")
    (batch,) = rf.load_data(f"folder:{place}").batches(0, 100, 100)
    assert len(batch) == 6
    assert [bad.reason for bad in batch.bad] == ["must be a regular file, got a pipe"]
