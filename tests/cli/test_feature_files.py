"""Numbers for each feature on the command line and in files, and the remedies for what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robustbench_fgsm.cli.feature_files import parse_bounds, parse_epsilon_scale
from robustbench_fgsm.errors import InputError, RfgsmError, SettingError

PAIRS = ((0.0, -1.0), (255.0, 1.5))


def test_two_numbers_and_pairs_of_numbers() -> None:
    assert parse_bounds("0,255") == (0.0, 255.0)
    assert parse_bounds("0,255;-1,1.5") == PAIRS


@pytest.mark.parametrize(
    "text",
    [
        "low,high\n0,255\n-1,1.5\n",
        "feature,high,low\nage,255,0\n\nincome,1.5,-1\n",
        "0,255\n-1,1.5",
        "\ufefflow, high\n0, 255\n-1, 1.5\n",
    ],
)
def test_a_csv_file_has_a_row_for_each_feature(tmp_path: Path, text: str) -> None:
    (tmp_path / "bounds.csv").write_text(text, encoding="utf-8")
    assert parse_bounds(str(tmp_path / "bounds.csv")) == PAIRS


def test_one_file_may_hold_bounds_and_scale(tmp_path: Path) -> None:
    (tmp_path / "features.csv").write_text("feature,low,high,scale\nage,0,255,2\nincome,-1,1.5,0\n")
    assert parse_bounds(str(tmp_path / "features.csv")) == PAIRS
    assert parse_epsilon_scale(str(tmp_path / "features.csv")) == (2.0, 0.0)


def test_an_npz_file_holds_arrays_of_any_shape(tmp_path: Path) -> None:
    low, high = np.zeros((3, 1, 1)), np.full((3, 1, 1), 255)
    np.savez(tmp_path / "bounds.npz", low=low, high=high, scale=high)
    assert parse_bounds(str(tmp_path / "bounds.npz")) == ((((0.0,),),) * 3, (((255.0,),),) * 3)
    assert parse_epsilon_scale(str(tmp_path / "bounds.npz")) == [[[255.0]]] * 3


def test_scales_of_text() -> None:
    assert parse_epsilon_scale("range") == "range"
    assert parse_epsilon_scale("0.5") == 0.5
    assert parse_epsilon_scale("0.5,2") == (0.5, 2.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read .*check the path"),
        (b"", "must have the columns low and high, got none: name them in a header"),
        (b"age,income\n1,2\n", "must have the columns low and high, got age, income"),
        (b"low,high\n1,two\n", "a number under high in each row, got 'two' in row 1"),
        (b"low,high\n1\n", "a number under high in each row, got '' in row 1"),
        (b"\xff\xfe\x00", "must be text in UTF-8"),
        (b"low,high\n5,1\n", r"got 5,1 in 1 of the pairs: did you mean 1,5\?"),
    ],
)
def test_files_that_hold_no_bounds_are_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "bounds.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        parse_bounds(str(tmp_path / "bounds.csv"))


def test_archives_that_hold_no_bounds_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    np.savez(tmp_path / "objects.npz", low=np.array([{}], object), high=np.array([{}], object))
    (tmp_path / "text.npz").write_text("low,high")
    for name, message in {"other": "arrays low and high, got images", "objects": "pickled", "text": "plain arrays"}.items():
        with pytest.raises(RfgsmError, match=message):
            parse_bounds(str(tmp_path / f"{name}.npz"))


@pytest.mark.parametrize(
    ("text", "message"), [("0", "LOW,HIGH"), ("0,1,2", "LOW,HIGH"), ("0;1", "LOW,HIGH"), ("low,high", "try 0,1")]
)
def test_other_text_is_no_bounds(text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        parse_bounds(text)
