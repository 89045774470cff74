"""Tables of one sample a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.data import memory
from robustbench_fgsm.data.sources import csv_table
from robustbench_fgsm.errors import DataError, ResourceError, SettingError

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 64), dtype=np.uint8)
LABELS = np.arange(30) % 10
NAMES = ["label", *(f"pixel{place}" for place in range(64))]
IRIS = "5.1,3.5,1.4,0.2,setosa\n7.0,3.2,4.7,1.4,versicolor\n4.9,3.0,1.4,0.2,setosa\n"


def written(tmp_path: Path, text: str) -> str:
    (tmp_path / "train.csv").write_text(text)
    return str(tmp_path / "train.csv")


def lines(columns: np.ndarray) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in columns.tolist())


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("rows", [7, 1024])
def test_reads_images_as_kaggle_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: bool, ending: str, delimiter: str, rows: int
) -> None:
    monkeypatch.setattr(csv_table, "ROWS_AT_A_TIME", rows)
    text = (",".join(NAMES) + "\n" if header else "") + lines(np.column_stack([LABELS, PIXELS]))
    spec = written(tmp_path, text.replace("\n", ending).replace(",", delimiter))
    for data in (rf.load_data(f"csv:{spec}"), rf.load_data(spec, shape="8x8"), rf.load_data(Path(spec))):
        batch = next(iter(data))
        assert torch.equal(batch.images, torch.from_numpy(PIXELS).reshape(30, 1, 8, 8).float() / 255)
        assert batch.labels.tolist() == LABELS.tolist()
    colour = rf.load_data(spec, shape=(4, 4, 4), layout="NHWC")
    assert next(iter(colour)).images.shape == (30, 4, 4, 4)
    with pytest.raises(SettingError, match=r"shape must be of the 64 values of a sample .*, got 28x28, which is 784"):
        rf.load_data(spec, shape="28x28")


def test_reads_tables_of_features(tmp_path: Path) -> None:
    headless = rf.load_data(written(tmp_path, IRIS))
    assert headless.classes == ("setosa", "versicolor")
    expected = torch.tensor([[5.1, 3.5, 1.4, 0.2], [7.0, 3.2, 4.7, 1.4], [4.9, 3.0, 1.4, 0.2]])
    for text in (IRIS, "a,b,c,d,species\n" + IRIS, "a,b,c,d,what\n" + IRIS):
        batch = next(iter(rf.load_data(written(tmp_path, text))))
        assert torch.equal(batch.images, expected)
        assert batch.labels.tolist() == [0, 1, 0]
    text = "y1,y2,b\n0.5,1,2\n1.5,0,3\n"
    with pytest.raises(DataError, match=r"a column of labels named label, .*, got y1, y2, b: pass --labels-key NAME"):
        rf.load_data(written(tmp_path, text))
    for key in ("y2", "1", "-2"):
        batch = next(iter(rf.load_data(written(tmp_path, text), labels_key=key)))
        assert (batch.images.tolist(), batch.labels.tolist()) == ([[0.5, 2], [1.5, 3]], [1, 0])
    with pytest.raises(SettingError, match=r"--labels-key must name a column of .*, got 'z': choose from b, y1, y2"):
        rf.load_data(written(tmp_path, text), labels_key="z")


def test_few_levels_are_no_levels_of_255(tmp_path: Path) -> None:
    """The digits of scikit-learn have levels from 0 to 16."""
    data = rf.load_data(written(tmp_path, ",".join(NAMES) + "\n" + lines(np.column_stack([LABELS, PIXELS % 17]))))
    assert float(next(iter(data)).images.max()) == 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("label,a,b\n", "its header alone"),
        ("label,a,b\n1,2,3\n1,2\n", "must have 3 columns in each line, got 2 in line 3: complete it"),
        ("label,a,b\n1,2,3\n1,,3\n", "must have finite numbers beside the label, got '' in line 3, a: remove the line"),
        ("label,a,b\n1,2,3\n1,2,nan\n", "got 'nan' in line 3, b"),
        ("label,a,b\n1,2,3\n1,2,1_0\n", "got '1_0' in line 3, b"),
        ("label,a,b\n1,2,3\n1,2,1e99\n", "got '1e99' in line 3, b"),
        ("label,a,b\n1.5,2,3\n", "must have integer labels, got 1.5 at image 0"),
        ("label,a,b\n,2,3\n", "a label for each image, got none at image 0"),
        ("one\ntwo\n", "a label and features in each line"),
    ],
)
def test_refuses_other_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rf.load_data(written(tmp_path, text))


@pytest.mark.parametrize("first", [0, 1])
def test_a_header_of_column_numbers_is_no_sample(tmp_path: Path, first: int) -> None:
    header = ",".join(str(first + place) for place in range(65))
    spec = written(tmp_path, f"{header}\n{lines(np.column_stack([LABELS, PIXELS]))}")
    with pytest.raises(DataError, match=r"must have a column of labels .*: pass --labels-key NAME"):
        rf.load_data(spec)
    batch = next(iter(rf.load_data(spec, labels_key=str(first))))
    assert (len(batch.labels), batch.labels.tolist()) == (30, LABELS.tolist())


def test_a_constant_column_is_not_guessed_to_be_the_label(tmp_path: Path) -> None:
    pixels = np.where(np.arange(64) % 8, PIXELS, 0)  # a dark edge
    spec = written(tmp_path, lines(np.column_stack([pixels, LABELS])))
    with pytest.raises(DataError, match=r"got 65 columns without names: pass --labels-key NAME"):
        rf.load_data(spec)
    assert next(iter(rf.load_data(spec, labels_key="-1"))).labels.tolist() == LABELS.tolist()
    assert (
        next(iter(rf.load_data(written(tmp_path, lines(np.column_stack([LABELS, pixels[:, ::-1]])))))).labels.tolist()
        == LABELS.tolist()
    )


@pytest.mark.parametrize("name", ["pixel{}", "px_{}", "{}"])
def test_pixels_stand_in_the_order_of_their_numbers(tmp_path: Path, name: str) -> None:
    def read(places: list[str]) -> rf.Dataset:
        header = ",".join(["label", *(name.format(place) for place in places)])
        return rf.load_data(written(tmp_path, f"{header}\n{lines(np.column_stack([LABELS, PIXELS]))}"))

    assert torch.equal(next(iter(read(list(map(str, range(64)))))).images.flatten(), torch.from_numpy(PIXELS).flatten() / 255)
    with pytest.raises(DataError, match=r"must have its pixels in order, got .*2 after .*19: sort the columns by number"):
        read(sorted(map(str, range(64))))  # as text
    for rows_first in (True, False):
        pairs = [(row, column) for row in range(1, 9) for column in range(1, 9)]
        read([f"{row}x{column}" if rows_first else f"{column}x{row}" for row, column in pairs])


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = written(tmp_path, lines(np.column_stack([LABELS, PIXELS])))
    monkeypatch.setattr(csv_table, "MAX_LINE_CHARACTERS", 20)
    with pytest.raises(DataError, match="must have lines of less than 20 characters"):
        rf.load_data(spec)
    monkeypatch.undo()
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    with pytest.raises(ResourceError, match=r"must fit into memory as a whole, .*: save it as npz:FILE"):
        rf.load_data(spec)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        rf.load_data(str(tmp_path / "none.csv"))
    (tmp_path / "bytes.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(DataError, match="must be text in UTF-8"):
        rf.load_data(str(tmp_path / "bytes.csv"))


TAGGED = "cat,a,dog,b,sea\n1,0.5,0,0.25,1\n0,0.75,0,0.5,0\n"


def test_reads_multi_hot_labels_from_the_named_columns(tmp_path: Path) -> None:
    spec = written(tmp_path, TAGGED)
    data = rf.load_data(spec, task="multilabel", labels_key="cat,dog,sea")
    batch = next(iter(data))
    assert (data.classes, batch.labels.tolist()) == (("cat", "dog", "sea"), [[1, 0, 1], [0, 0, 0]])
    assert batch.images.tolist() == [[0.5, 0.25], [0.75, 0.5]]
    headless = rf.load_data(written(tmp_path, TAGGED.partition("\n")[2]), task="multilabel", labels_key="0, 2, -1")
    assert next(iter(headless)).labels.tolist() == batch.labels.tolist()
    assert headless.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "name its columns of multi-hot labels, got no --labels-key: pass --labels-key A,B,C"),
        ("cat,dog,bird", "--labels-key must name a column of .*, got 'bird'"),
        ("cat,dog,cat", "must name different columns beside those of the features"),
        ("cat,a,dog,b,sea", "leave some out"),
    ],
)
def test_rejects_columns_of_multi_hot_labels(tmp_path: Path, key: str | None, message: str) -> None:
    spec = written(tmp_path, TAGGED)
    with pytest.raises(SettingError, match=message):
        rf.load_data(spec, task="multilabel", labels_key=key)
    assert rf.load_data(spec, task="multilabel", labels_key="cat,dog,sea").classes


def test_rejects_multi_hot_cells_that_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must have multi-hot labels of 0 and 1, got 2 for label 0 of image 0"):
        rf.load_data(written(tmp_path, TAGGED.replace("\n1", "\n2")), task="multilabel", labels_key="cat,dog,sea")
    with pytest.raises(DataError, match=r"must have multi-hot labels \(N, K\)"):
        rf.load_data(written(tmp_path, TAGGED.replace("\n1", "\n")), task="multilabel", labels_key="cat,dog,sea")
