"""`rfgsm plot` as a user meets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture
def kept(run: Run, tmp_path: Path) -> str:
    place = str(tmp_path / "kept")
    words = ("--model", "mlp300", "--limit", "32", "--eps", "4,8/255", "--targeted", "none", "--targeted", "next")
    assert run("sweep", *words, "--out", place, "--quiet")[0] == 0
    return place


def test_a_figure_of_several_runs(run: Run, kept: str, tmp_path: Path) -> None:
    file = tmp_path / "curves.svg"
    code, _, err = run("plot", kept, kept, "-o", str(file))
    assert (code, "pass --kind curve" in err) == (2, True)
    assert run("plot", kept, kept, "--kind", "curve", "-o", str(file), "--quiet") == (0, "", "")
    assert file.read_bytes().startswith(STARTS["svg"])


def test_figures_of_each_kind(run: Run, kept: str, tmp_path: Path) -> None:
    for kind, form in (("confusion", "png"), ("curve", "svg"), ("per-class", "pdf"), ("gallery", "png")):
        file = tmp_path / f"figure.{form}"
        code, out, err = run("plot", kept, "--kind", kind, "-o", str(file))
        assert (code, out, err) == (0, "", f"{file}: {file.stat().st_size / 2**10:.0f} KiB\n")
        assert file.read_bytes().startswith(STARTS[form])
    other = str(tmp_path / "other.png")
    assert run("plot", kept, "--eps", "4/255", "--targeted", "next", "-o", other, "--quiet") == (0, "", "")
    refused = {
        ("--eps", "5/255"): "epsilon must be one of the run, 4/255, 8/255, got 5/255",
        ("--eps", "4,8/255"): "--eps must be one budget",
        ("--targeted", "random"): "targeted must be a rule of the run, none or next, got 'random'",
    }
    for words, says in refused.items():
        code, _, err = run("plot", kept, *words, "-o", other)
        assert (code, says in err, err.count("\n")) == (2, True, 1)
    code, _, err = run("plot", kept, "--kind", "gallery", "--eps", "5/255", "-o", other)
    assert (code, "epsilon must be one with kept images" in err, err.count("\n")) == (2, True, 1)
    assert run("plot", kept, "-o", str(tmp_path / "figure.gif"))[0] == 2
    assert run("plot", str(tmp_path / "nowhere"), "-o", other)[0] == 2
