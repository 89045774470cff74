"""Evaluate and sweep check everything before a run directory is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--eps", "1,1/255"], "epsilons must be at least one and all different"),
        (["--batch-size", "0"], "batch size"),
        (["--optimize", "fast"], "optimize"),
        (["--norm", "1", "--pgd-check", "5"], "norm inf or 2"),
    ],
)
def test_bad_settings_make_no_directory(run: Run, tmp_path: Path, words: list[str], message: str) -> None:
    out = tmp_path / "run"
    code, _, err = run("sweep", "--model", "mlp300", "--limit", "8", "--quiet", "--out", str(out), *words)
    assert (code, out.exists()) == (2, False)
    assert message in err
