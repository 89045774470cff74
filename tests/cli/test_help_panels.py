"""Commands of the program: their help, and the model as the first word."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("help", "evaluate"),
        ("help gate", "--baseline"),
        ("help runs show", "--outcomes"),
        ("evaluate --help", "[MODEL]"),
        ("verify --help", "CANDIDATE"),
        ("benchmark --help", "[default: 512]"),
    ],
)
def test_shows_help(run: Run, words: str, shown: str) -> None:
    code, out, err = run(*words.split())
    assert (code, err) == (0, "")
    assert shown in out
    assert "<bool>" not in out


@pytest.mark.parametrize(("words", "shown"), [("", "evaluate"), ("runs", "resume"), ("list", "models|data|references")])
def test_a_group_alone_shows_its_commands(run: Run, words: str, shown: str) -> None:
    code, out, err = run(*words.split())
    assert code == 2
    assert shown in out + err
    assert "rfgsm: " not in err


def test_the_model_may_be_the_first_word(run: Run) -> None:
    assert "did you mean mlp300?" in run("evaluate", "mlp30")[2]
    assert "did you mean mlp300?" in run("sweep", "mlp30", "--eps", "1/255")[2]
    assert "Missing option '-m' / '--model': see rfgsm evaluate --help" in run("evaluate")[2]
