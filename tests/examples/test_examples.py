"""Examples that need no training data run by the command in their docstring."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
NEED_TRAINING_DATA = {"bundle_fashion_mnist.py", "dnn_width_study.py", "gate_power.py", "train_bundled_weights.py"}
TAKE_HOURS = {"benchmark_table.py"}
EXAMPLES = sorted({file.name for file in FOLDER.glob("*.py")} - NEED_TRAINING_DATA - TAKE_HOURS)


def run(name: str, place: Path, *arguments: str) -> str:
    """Return the output of an example that runs in the directory."""
    command = [sys.executable, str(FOLDER / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=place)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.reference
@pytest.mark.parametrize("name", EXAMPLES)
def test_runs(name: str, tmp_path: Path) -> None:
    assert run(name, tmp_path)
    assert f"python examples/{name}" in (FOLDER / name).read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.distributed
def test_scaling_compares_two_processes(tmp_path: Path) -> None:
    text = run("scaling.py", tmp_path, "--processes", "1000", "1")
    assert re.search(r"^\| 2 \| 1 \| 1,000 \| [\d.]+ \| [\d.]+ \(", text, re.MULTILINE)
    assert "Equal counts: True." in text


@pytest.mark.reference
def test_benchmark_table_has_a_row_for_each_implementation(tmp_path: Path) -> None:
    text = run("benchmark_table.py", tmp_path, "mobilenet_v3_small", "--limit", "2", "--rounds", "1", "--eps", "4,8/255")
    assert re.search(
        r"^\| mobilenet_v3_small \| ours safe \S+ \|( [\d.]+ \| [\d.]+ \([\d.]+-[\d.]+\) \| \d+% \|){2} \d+ \|$", text, re.MULTILINE
    )


def test_sweep_curve_draws_a_file(tmp_path: Path) -> None:
    text = run("sweep_curve.py", tmp_path, "curve.svg")
    assert text.count("targeted ") == 2
    assert (tmp_path / "curve.svg").read_bytes().startswith(b"<?xml")


def test_stable_gradients_fool_more(tmp_path: Path) -> None:
    text = run("saturated_network.py", tmp_path)
    saturated, _, ordinary, stable = (float(found) for found in re.findall(r": ([\d.]+)%", text))
    assert saturated > 1
    assert stable < ordinary
