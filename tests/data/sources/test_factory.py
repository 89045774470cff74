"""The caller's own function."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.errors import DataError

CODE = """
    import torch
    import robustbench_fgsm as rf

    class Pairs:
        targets = [0, 1, 1, 0]
        def __len__(self):
            return 4
        def __getitem__(self, index):
            if index == 2:
                raise ValueError("rotten")
            return torch.full((3, 4, 4), index / 8), self.targets[index]

    class Named(Pairs):
        classes = ["cat", "dog"]

    class Silent(Pairs):
        targets = property(lambda self: (_ for _ in ()).throw(AttributeError))
        def __getitem__(self, index):
            return torch.zeros(1, 2, 2), "two" if index == 3 else index

    def named():
        return Named()

    def pairs():
        return Pairs()

    def silent():
        return Silent()

    def whole():
        return rf.ArrayDataset("mine", torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 1]), ("a", "b"))

    def nothing():
        return 7

    number = 7
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(textwrap.dedent(CODE))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "mine.py"


def test_accepts_a_data_set(file: Path) -> None:
    data = rf.load_data(f"factory:{file}:whole")
    assert isinstance(data, rf.ArrayDataset)
    assert (len(data), data.classes) == (3, ("a", "b"))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("place", ["file", "module"])
def test_reads_pairs_one_by_one(file: Path, place: str, workers: int) -> None:
    spec = f"factory:{file if place == 'file' else 'mine'}:named"
    data = rf.load_data(spec, workers=workers)
    (batch,) = data.batches(0, 4, 4)
    assert data.classes == ("cat", "dog")
    assert batch.labels.tolist() == [0, 1, 0]
    assert torch.equal(batch.images[:, 0, 0, 0], torch.tensor([0, 1, 3]) / 8)
    assert [bad.path for bad in batch.bad] == [f"{spec}[2]"]
    assert re.fullmatch(r"the data set must return a sample, it raised ValueError: rotten \(mine\.py:\d+\)", batch.bad[0].reason)
    assert data.fingerprint == rf.load_data(spec).fingerprint


def test_unnamed_classes(file: Path) -> None:
    assert rf.load_data(f"factory:{file}:pairs").classes == ("0", "1")
    silent = rf.load_data(f"factory:{file}:silent")
    (batch,) = silent.batches(0, 4, 4)
    assert (silent.classes, batch.labels.tolist()) == ((), [0, 1, 2])
    assert "integer labels, got 'two'" in batch.bad[0].reason
    assert silent.labels.tolist() == [0, 1, 2, -1]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.py:nothing", "must be a Dataset, a DataLoader, .* got int"),
        ("mine.py:number", "must be callable, got mine.py:number, which is of type int"),
        ("mine.py:none", "must be a function of mine.py, got .none."),
        ("none.py:f", "which does not exist"),
        ("no_such_module:f", "there is no module no_such_module"),
        ("mine.py", "must look like file.py:fn or pkg.mod:fn"),
    ],
)
def test_rejects_other_objects(file: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    monkeypatch.chdir(file.parent)
    with pytest.raises(DataError, match=message):
        rf.load_data(f"factory:{name}")
