"""Tables of the `datasets` library, from directories that it saved here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.errors import DataError, SettingError, UnsafeError

datasets: Any = pytest.importorskip("datasets")

Encode = Callable[..., bytes]


def table(encode: Encode, n: int = 6, label: Any = None) -> Any:
    rows = {"image": [{"bytes": encode(k), "path": f"{k}.png"} for k in range(n)], "label": [k % 2 for k in range(n)]}
    kind = label or datasets.ClassLabel(names=["cat", "dog"])
    return datasets.Dataset.from_dict(rows, datasets.Features({"image": datasets.Image(), "label": kind}))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_saved_table(tmp_path: Path, encode: Encode, workers: int) -> None:
    table(encode).save_to_disk(str(tmp_path / "pets"))
    data = rf.load_data(f"hf-data:{tmp_path / 'pets'}", workers=workers)
    assert data.classes == ("cat", "dog")
    batches = list(data.batches(1, 6, 3))
    assert [batch.labels.tolist() for batch in batches] == [[1, 0, 1], [0, 1]]
    assert batches[0].images.shape == (3, 3, 10, 12)


def test_fingerprint_differs_between_tables(tmp_path: Path, encode: Encode) -> None:
    prints = []
    for name, n in (("one", 6), ("again", 6), ("other", 5)):
        table(encode, n).save_to_disk(str(tmp_path / name))
        prints.append(rf.load_data(f"hf-data:{tmp_path / name}").fingerprint)
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("splits", [False, True])
def test_a_saved_table_that_was_cut_is_an_error(tmp_path: Path, encode: Encode, splits: bool) -> None:
    """Arrow reads the record batches that are there."""
    saved: Any = datasets.DatasetDict({"test": table(encode)}) if splits else table(encode)
    saved.save_to_disk(str(tmp_path / "pets"))
    (file,) = (tmp_path / "pets").rglob("*.arrow")
    whole = file.read_bytes()
    for content in (whole[:-8], whole[:-8] + whole[-8:] * 2, whole + bytes(8)):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"without the end of an Arrow stream"):
            rf.load_data(f"hf-data:{tmp_path / 'pets'}")
    file.write_bytes(whole)
    assert len(rf.load_data(f"hf-data:{tmp_path / 'pets'}")) == 6


def test_splits(tmp_path: Path, encode: Encode) -> None:
    parts = {"train": table(encode, 4), "test": table(encode, 3)}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "pets"))
    assert len(rf.load_data(f"hf-data:{tmp_path / 'pets'}")) == 3
    assert len(rf.load_data(f"hf-data:{tmp_path / 'pets'}", split="train")) == 4
    with pytest.raises(SettingError, match="must be one of test, train, got 'val'"):
        rf.load_data(f"hf-data:{tmp_path / 'pets'}", split="val")


def test_parquet_files_in_a_directory(tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "pets").mkdir()
    table(encode).to_parquet(str(tmp_path / "pets" / "test.parquet"))
    data = rf.load_data(f"hf-data:{tmp_path / 'pets'}")
    assert (len(data), data.classes) == (6, ("cat", "dog"))


def test_labels_without_names(tmp_path: Path, encode: Encode) -> None:
    table(encode, label=datasets.Value("int64")).save_to_disk(str(tmp_path / "pets"))
    assert rf.load_data(f"hf-data:{tmp_path / 'pets'}").classes == ("0", "1")


def test_unreadable_rows_are_bad(tmp_path: Path, encode: Encode) -> None:
    broken = table(encode).to_dict()
    broken["image"][1] = {"bytes": b"", "path": "1.png"}
    broken["image"][2] = None
    broken["label"][4] = None
    again = datasets.Dataset.from_dict(broken, table(encode).features)
    again.save_to_disk(str(tmp_path / "pets"))
    (batch,) = rf.load_data(f"hf-data:{tmp_path / 'pets'}").batches(0, 6, 6)
    assert batch.ids.tolist() == [0, 3, 5]
    assert [bad.path.rpartition("/")[2] for bad in batch.bad] == ["pets[1]", "pets[2]", "pets[4]"]


@pytest.mark.parametrize("kind", ["float32", "bool", "int64"])
def test_takes_no_label_for_another(tmp_path: Path, encode: Encode, kind: str) -> None:
    """Fractions and flags are no class indices, and neither is a number beyond all classes."""
    values = {"float32": [0.5] * 2, "bool": [True] * 2, "int64": [2**62] * 2}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value(kind)})
    images = [{"bytes": encode(k), "path": None} for k in range(2)]
    found = datasets.Dataset.from_dict({"image": images, "label": values[kind]}, features)
    found.save_to_disk(str(tmp_path / "pets"))
    with pytest.raises(DataError, match="label"):
        rf.load_data(f"hf-data:{tmp_path / 'pets'}")


def test_whole_numbers_and_missing_labels(tmp_path: Path, encode: Encode) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("float32")})
    rows = {"image": [{"bytes": encode(k), "path": None} for k in range(3)], "label": [1.0, None, 0.0]}
    datasets.Dataset.from_dict(rows, features).save_to_disk(str(tmp_path / "pets"))
    (batch,) = rf.load_data(f"hf-data:{tmp_path / 'pets'}", workers=0).batches(0, 3, 3)
    assert (batch.labels.tolist(), [bad.path[-3:] for bad in batch.bad]) == ([1, 0], ["[1]"])


@pytest.mark.parametrize(
    ("labels", "classes", "indices"),
    [(["cat", None, "ant"], ("ant", "cat"), [1, 0]), (["10", None, "2"], tuple(map(str, range(11))), [10, 2])],
)
def test_labels_of_text(
    tmp_path: Path, encode: Encode, labels: list[str | None], classes: tuple[str, ...], indices: list[int]
) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    rows = {"image": [{"bytes": encode(k), "path": None} for k in range(3)], "label": labels}
    datasets.Dataset.from_dict(rows, features).save_to_disk(str(tmp_path / "pets"))
    data = rf.load_data(f"hf-data:{tmp_path / 'pets'}", workers=0)
    (batch,) = data.batches(0, 3, 3)
    assert (data.classes, batch.labels.tolist(), len(batch.bad)) == (classes, indices, 1)


@pytest.mark.parametrize("option", ["images_key", "labels_key"])
def test_an_unknown_column_is_an_error(tmp_path: Path, encode: Encode, option: str) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    rows = {"image": [{"bytes": encode(0), "path": None}], "label": [0]}
    datasets.Dataset.from_dict(rows, features).save_to_disk(str(tmp_path / "pets"))
    settings: dict[str, Any] = {option: "other"}
    with pytest.raises(DataError, match=r"must have the column of --.*-key, got 'other' and image, label: "):
        rf.load_data(f"hf-data:{tmp_path / 'pets'}", **settings)


@pytest.mark.parametrize("path", ["/dev/zero", "\0", "missing.png", "/" + "x" * 5000])
def test_a_row_may_name_no_other_kind_of_file(tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    images = [{"bytes": encode(0), "path": None}, {"bytes": None, "path": path}]
    (tmp_path / "pets").mkdir()
    parquet.write_table(arrow.table({"image": images, "label": [0, 1]}), tmp_path / "pets" / "test.parquet")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (batch,) = rf.load_data(f"hf-data:{tmp_path / 'pets'}", workers=0, images_key="image").batches(0, 2, 2)
    assert (batch.labels.tolist(), len(batch.bad)) == ([0], 1)


def test_a_row_reads_files_of_the_data_set_alone(tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    place = tmp_path / "pets"
    place.mkdir()
    for file in (place / "own.png", tmp_path / "private.png", tmp_path / "pets-2.png"):
        file.write_bytes(encode(3))
    (place / "link.png").symlink_to(tmp_path / "private.png")
    named = ["own.png", "../private.png", "../pets-2.png", "link.png"]
    images = [{"bytes": None, "path": str(place / name)} for name in named]
    parquet.write_table(arrow.table({"image": images, "label": [0, 1, 0, 1]}), place / "test.parquet")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (batch,) = rf.load_data(f"hf-data:{place}", workers=0, images_key="image").batches(0, 4, 4)
    assert (batch.ids.tolist(), len(batch.bad)) == ([0], 3)
    assert all("names a file that is not part of the data set" in bad.reason for bad in batch.bad)


def test_a_table_without_images(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a"], "label": [0]}).save_to_disk(str(tmp_path / "texts"))
    with pytest.raises(DataError, match="must have one column of images and one of labels, got text, label"):
        rf.load_data(f"hf-data:{tmp_path / 'texts'}")


def test_runs_no_script_beside_the_data(tmp_path: Path) -> None:
    place = tmp_path / "pets"
    place.mkdir()
    (place / "pets.py").write_text(f"open({str(tmp_path / 'touched')!r}, 'w')\n")
    with pytest.raises(DataError, match="must name a data set of the hub or a directory of one"):
        rf.load_data(f"hf-data:{place}")
    assert not (tmp_path / "touched").exists()


def test_network_errors_take_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise ConnectionError("Couldn't reach 'nobody/nothing' on the Hub\n(LocalEntryNotFoundError)")

    monkeypatch.setattr("datasets.load_dataset", fail)
    with pytest.raises(DataError) as found:
        rf.load_data("hf-data:nobody/nothing")
    assert "\n" not in str(found.value)
    assert "nobody/nothing" in str(found.value)


@pytest.mark.parametrize("path", ["/etc/*.png", "../other/*.png", "https://127.0.0.1/x.png", "zip://x.png::y.zip"])
@pytest.mark.parametrize("card", ["README.md", ".huggingface.yaml"])
def test_refuses_a_card_that_names_files_elsewhere(tmp_path: Path, encode: Encode, card: str, path: str) -> None:
    (tmp_path / "pets").mkdir()
    table(encode).to_parquet(str(tmp_path / "pets/test.parquet"))
    text = f"configs:\n- config_name: default\n  data_files:\n  - split: test\n    path: [{path!r}]\n"
    (tmp_path / "pets" / card).write_text(f"---\n{text}---\n" if card.endswith(".md") else text)
    with pytest.raises(UnsafeError, match="must name files of its directory alone"):
        rf.load_data(f"hf-data:{tmp_path / 'pets'}")


def test_a_card_that_names_its_own_files(tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "pets").mkdir()
    table(encode).to_parquet(str(tmp_path / "pets/own.parquet"))
    (tmp_path / "pets/README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: own.parquet\n---\n# Pets"
    )
    assert len(rf.load_data(f"hf-data:{tmp_path / 'pets'}")) == 6


def test_aliases_of_a_card_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    lines = ["a0: &a0 [x.png, x.png]"] + [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 30)]
    (tmp_path / "pets/.huggingface.yaml").write_text("\n".join([*lines, "data_files: *a29", "data_dir: /etc"]))
    with pytest.raises(UnsafeError, match="got '/etc'"):
        rf.load_data(f"hf-data:{tmp_path / 'pets'}")
