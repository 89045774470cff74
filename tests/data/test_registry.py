"""Data sources of this package and of others, by name."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch

from robustbench_fgsm.data.dataset import ArrayDataset
from robustbench_fgsm.data.load import load_data
from robustbench_fgsm.data.registry import (
    ARRAY_OPTIONS,
    DATA_SOURCES,
    DataOptions,
    DataSource,
    add_source_of_path,
    check_data_path,
    data_sources,
    find_data_source,
)
from robustbench_fgsm.errors import DataError, InputError, SettingError


def load_dots(argument: str, options: DataOptions) -> ArrayDataset:
    n = int(argument)
    return ArrayDataset("dots", torch.rand(n, 1, 2, 2), torch.arange(n) % 2, ("black", "white"))


SOURCE = DataSource("dots:N", "random dots", load_dots)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package's source, as its entry point gives it."""
    point = EntryPoint("dots", f"{__name__}:SOURCE", DATA_SOURCES.group)
    monkeypatch.setattr(EntryPoint, "load", lambda _: SOURCE)
    monkeypatch.setattr("robustbench_fgsm.registry.entry_points", lambda group: [point] if group == "robustbench_fgsm.data" else [])


@pytest.mark.parametrize(
    ("name", "remedy"), [("fashion_mnist", r"did you mean fashion-mnist\?"), ("???", "choose from .*fashion-mnist")]
)
def test_an_unknown_name_shows_a_remedy(name: str, remedy: str) -> None:
    with pytest.raises(DataError, match=f"`rfgsm list data`, got '{name.replace('?', '.')}': {remedy}"):
        load_data(name)


@pytest.mark.parametrize("spec", ["folder", "folder:", "mnist:DIR"])
def test_rejects_a_missing_or_extra_argument(spec: str) -> None:
    with pytest.raises(DataError, match=r"data of this kind are named (folder:DIR|mnist), got"):
        load_data(spec)


def test_lists_every_source() -> None:
    found = data_sources()
    assert {"fashion-mnist", "cifar10", "imagenet", "folder", "npz", "safetensors", "wds", "hf-data", "factory"} <= set(found)
    assert all(source.summary and source.name == name for name, source in found.items())


@pytest.mark.usefixtures("added")
def test_another_package_adds_a_source() -> None:
    data = load_data("dots:5")
    assert (data.name, len(data), data.classes) == ("dots:5", 5, ("black", "white"))


def test_entry_points_of_one_name_are_all_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = {"x:one": SOURCE, "x:two": DataSource("lines:N", "random lines", load_dots)}
    points = [EntryPoint("source", value, DATA_SOURCES.group) for value in sources]
    monkeypatch.setattr(EntryPoint, "load", lambda point: sources[point.value])
    monkeypatch.setattr("robustbench_fgsm.registry.entry_points", lambda group: points)
    assert {"dots", "lines", "mnist"} <= set(data_sources())


def test_rejects_an_unsuitable_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EntryPoint, "load", lambda _: 7)
    monkeypatch.setattr("robustbench_fgsm.registry.entry_points", lambda group: [EntryPoint("seven", "x:y", group)])
    with pytest.raises(DataError, match=r"data seven .* must have a function load\(argument, options\), got none in x:y"):
        data_sources()


def test_a_built_in_source_needs_no_other_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points are neither searched nor imported, which may fail."""
    monkeypatch.setattr("robustbench_fgsm.registry.entry_points", lambda group: pytest.fail(f"looked for {group}"))
    assert find_data_source("fashion-mnist")[0].name == "fashion-mnist"


def test_names_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(DATA_SOURCES.built_in["hf-data"], package="no-such-package")
    monkeypatch.setitem(DATA_SOURCES.built_in, "hf-data", missing)
    with pytest.raises(DataError, match=r"hf-data:NAME needs the package no-such-package, .*: pip install 'rob.*\[hf-data\]'"):
        find_data_source("hf-data:x")


@pytest.mark.parametrize(
    ("path", "spec"),
    [
        ("digits.npz", "npz:digits.npz"),
        ("a/Train.CSV", "csv:a/Train.CSV"),
        ("x.mat", "mat:x.mat"),
        ("x.safetensors", "safetensors:x.safetensors"),
        ("shards.tar", "wds:shards.tar"),
        ("x.npy", "npy:x.npy"),
        ("photos", "folder:photos"),
        ("~/photos", "folder:~/photos"),
        ("saved", "hf-data:saved"),
        ("mnist", "mnist"),
        ("npz:x", "npz:x"),
    ],
)
def test_a_bare_path_names_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, spec: str) -> None:
    for name in ("photos", "saved", "mnist"):
        (tmp_path / name).mkdir()
    (tmp_path / "saved" / "state.json").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert add_source_of_path(path) == spec
    if path.startswith("~"):
        assert find_data_source(path)[1] == f"{tmp_path}/photos"


def test_refuses_paths_of_no_source(tmp_path: Path) -> None:
    (tmp_path / "x.txt").touch()
    with pytest.raises(DataError, match=r"data files must be .npz, .*, got .*x.txt.: convert it, or name its source"):
        load_data(tmp_path / "x.txt")
    for name, remedy in {"x.csv.gz": "unpack it", "x.parquet": "pass hf-data:DIRECTORY"}.items():
        (tmp_path / name).touch()
        with pytest.raises(DataError, match=f"data files must be .*: .*{remedy}$"):
            load_data(tmp_path / name)
    with pytest.raises(
        DataError, match=r"data of a function of your own are named factory:FILE.py:FUNCTION, .*: pass factory:sets.py:make"
    ):
        load_data("sets.py:make")


@pytest.mark.parametrize(
    ("spec", "split", "message"),
    [
        ("npz:none.npz", None, "npz none.npz cannot be read"),
        ("factory:none.py:make", None, "factory must be in a file, got none.py"),
        ("fashion-mnist", "trian", "must be one of test, train, got 'trian': did you mean train?"),
        ("cifar10", None, "cifar10 must be in none, which does not exist: pass --data-root DIR, or --download"),
    ],
)
def test_paths_are_checked_before_data_are_loaded(spec: str, split: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_data_path(spec, Path("none"), split, download=False)


def test_data_that_may_be_there_are_not_refused(tmp_path: Path) -> None:
    check_data_path("cifar10", tmp_path, "any", download=False)
    check_data_path("cifar10", tmp_path / "none", None, download=True)
    check_data_path("fashion-mnist", tmp_path / "none", "test", download=False)


@pytest.mark.parametrize("option", ARRAY_OPTIONS)
@pytest.mark.parametrize("name", list(DATA_SOURCES.built_in))
def test_an_option_that_a_source_would_ignore_is_an_error(name: str, option: str) -> None:
    settings: dict[str, Any] = {option: (28, 28) if option == "shape" else "NHW"}
    entry, options = DATA_SOURCES.built_in[name], DataOptions(**settings)
    if option in entry.array_options:
        options.reject_unread(entry)
    else:
        with pytest.raises(SettingError, match=f"{name} must be read without --.* leave it out"):
            options.reject_unread(entry)


def test_ignores_no_option_of_bundled_data() -> None:
    with pytest.raises(SettingError, match="fashion-mnist must be read without --shape, which it would ignore"):
        load_data("fashion-mnist", limit=8, shape="28x28")
