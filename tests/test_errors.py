"""The exit code that each error carries, and remedies for names that nobody knows."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm import errors
from robustbench_fgsm.errors import RfgsmError, SettingError, did_you_mean

EXIT_CODES = {
    "InputError": 2,
    "SettingError": 2,
    "ModelError": 2,
    "DataError": 2,
    "CandidateError": 2,
    "RunError": 2,
    "FileError": 2,
    "InvalidRunError": 1,
    "IncompleteError": 3,
    "UnsafeError": 4,
    "ResourceError": 5,
}


def raised_on_purpose() -> dict[str, type[RfgsmError]]:
    return {
        name: found
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, RfgsmError) and found is not RfgsmError
    }


def test_long_words_are_cut() -> None:
    """A cell of a damaged file; the remedy behind it stays."""
    text = str(SettingError(f"bounds must be numbers, got {'x' * 5000}: correct them"))
    assert text.startswith("bounds must be numbers, got xxx")
    assert text.endswith("xxx… correct them")
    assert len(text) < 300


def test_exit_codes() -> None:
    assert {name: found.exit_code for name, found in raised_on_purpose().items()} == EXIT_CODES


def test_docstring_tree_is_complete() -> None:
    drawn = set(re.findall(r"\w+Error", errors.__doc__ or ""))
    assert drawn == {"RfgsmError", *raised_on_purpose()}


def test_a_setting_error_is_a_value_error() -> None:
    assert issubclass(SettingError, ValueError)


@pytest.mark.parametrize(
    ("got", "known", "remedy"),
    [
        ("resnet", ["resnet18", "smallcnn"], "did you mean resnet18?"),
        ("mlp500", ["mlp300", "mlp600", "smallcnn"], "did you mean mlp600 or mlp300?"),
        ("zzz", ["smallcnn", "mlp300"], "choose from mlp300, smallcnn"),
        ("", ["art"], "choose from art"),
        ("CE", ["ce", "margin"], "did you mean ce?"),
        (
            "x",
            [f"{i:03}" for i in range(1000)],
            f"choose from 1,000 names such as {', '.join(f'{i:03}' for i in range(0, 1000, 100))}",
        ),
    ],
)
def test_did_you_mean(got: str, known: list[str], remedy: str) -> None:
    assert did_you_mean(got, known) == remedy


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) * torch.nan


@pytest.mark.parametrize(
    "warn",
    [
        lambda x, y: rf.fgsm(nn.Flatten(), 255 * x, y, 8 / 255, bounds=(0, 255)),
        lambda x, y: rf.fgsm(Broken(), x, y),
        lambda x, y: rf.minimal_epsilon(Broken(), x, y),
        lambda _, __: rf.wrap(nn.Flatten(), 4, mean=72.9, std=90.0),
    ],
    ids=["small budget", "outputs not finite", "minimal epsilon", "statistics"],
)
def test_warnings_name_the_line_of_the_caller(warn: Callable[[Tensor, Tensor], object]) -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warn(torch.rand(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64))
    assert {warning.filename for warning in found} == {__file__}
